import { spawn } from 'node:child_process'
import { readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { describe, expect, it, onTestFinished } from 'vitest'
import { readArchive } from '../../daemon/archive/read.ts'
import { ControlClient, type ControlEvent } from '../../daemon/cli/control.ts'
import { type Digest, digestOf } from '../../proxy/oci/digest.ts'
import { indexOf, inPieces } from '../fixtures/archives.ts'
import { pseudoRandomBytes } from '../fixtures/bytes.ts'
import { FakeUpstream } from '../fixtures/fake-upstream.ts'
import { startTestNode, type TestNode, untilConnected } from '../fixtures/node.ts'
import { ociIndex, ociManifest, RegistryClient, type TestImage, testImage } from '../fixtures/registry-client.ts'
import { tempDir } from '../fixtures/temp-dir.ts'

const bin = new URL('../../daemon/cli/bin.ts', import.meta.url).pathname
const amd64 = testImage([pseudoRandomBytes(900_000, 'a'), pseudoRandomBytes(300_000, 'b')])
const arm64 = testImage([pseudoRandomBytes(300_000, 'b'), pseudoRandomBytes(200_000, 'c')])
const index = indexOf({ 'linux/amd64': amd64, 'linux/arm64/v8': arm64 })

/** An upstream that has an image for two platforms, and a node in front of it. */
async function setUp(config: Record<string, object> = {}) {
  const upstream = await FakeUpstream.start()
  onTestFinished(() => upstream.close())
  addImages(upstream)
  const start = (more: Parameters<typeof startTestNode>[0] = {}) =>
    startTestNode({ registries: { 'docker.io': upstream.url }, config, ...more })
  return { upstream, start, node: await start() }
}

function addImages(upstream: FakeUpstream) {
  for (const image of [amd64, arm64]) {
    for (const blob of image.blobs) upstream.addBlob(blob)
    upstream.addManifest(image.manifest, ociManifest)
  }
  upstream.tag('library/app', '1', upstream.addManifest(index, ociIndex))
}

const at = <T>(node: TestNode, work: (control: ControlClient) => Promise<T>) =>
  ControlClient.use({ dataDir: node.dataDir }, work)

async function events(node: TestNode, operation: string, input: object): Promise<ControlEvent[]> {
  return await at(node, async (control) => {
    const found: ControlEvent[] = []
    for await (const event of control.events({ operation, input })) found.push(event)
    return found
  })
}

async function exported(node: TestNode, input: object): Promise<Map<string, Buffer>> {
  return await at(node, async (control) => {
    const files = new Map<string, Buffer>()
    for await (const { name, body } of readArchive(control.download({ operation: 'export', input }))) {
      const pieces: Uint8Array[] = []
      for await (const piece of body) pieces.push(Uint8Array.from(piece))
      files.set(name, Buffer.concat(pieces))
    }
    return files
  })
}

const pathOf = (digest: Digest) => `blobs/${digest.replace(':', '/')}`
const blobsIn = (files: ReadonlyMap<string, Buffer>) =>
  [...files.keys()].filter((name) => name.startsWith('blobs/')).sort()
const pathsOf = (...images: readonly TestImage[]) =>
  [
    ...new Set(images.flatMap(({ blobs, manifest }) => [...blobs, manifest].map((bytes) => pathOf(digestOf(bytes))))),
  ].sort()

async function layerd(node: TestNode, args: readonly string[]) {
  const child = spawn(process.execPath, [bin, ...args, '--data-dir', node.dataDir], {
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const exited = new Promise<number | null>((resolve) => child.once('close', resolve))
  const [stdout, stderr, code] = await Promise.all([text(child.stdout), text(child.stderr), exited])
  return { stdout, stderr, code }
}

describe('pull', () => {
  it('has all of an image here, tells of each layer, and fetches nothing twice', async () => {
    const { node, upstream } = await setUp()
    const told = await events(node, 'pull', { image: 'app:1' })
    const name = 'docker.io/library/app:1'
    expect(told[0]).toMatchObject({
      event: 'image',
      name,
      digest: digestOf(index),
      platforms: ['linux/amd64', 'linux/arm64/v8'],
    })
    const layers = new Set([...amd64.blobs, ...arm64.blobs].map((blob) => digestOf(blob)))
    const done = told.filter(({ event, state }) => event === 'layer' && state === 'done')
    expect(new Set(done.map(({ digest }) => digest))).toEqual(layers)
    expect(done.every(({ source, bytes, size }) => source === 'upstream' && bytes === size)).toBe(true)
    expect(told.at(-1)).toMatchObject({ event: 'done', name, missing: [], fetchedBytes: expect.any(Number) })
    await upstream.close()
    const again = await events(node, 'pull', { image: `app@${digestOf(index)}` })
    expect(again.filter(({ event }) => event === 'layer').every(({ state }) => state === 'held')).toBe(true)
    expect(again.at(-1)).toMatchObject({ fetchedBytes: 0 })
  })

  it('has one platform of it where that is asked for', async () => {
    const { node } = await setUp()
    await events(node, 'pull', { image: 'app:1', platforms: ['linux/arm64'] })
    const held = [...new Set([...arm64.blobs, ...amd64.blobs].map((blob) => digestOf(blob)))]
    const files = new Set((await readdir(join(node.dataDir, 'blobs/sha256'))).map((hex) => `sha256:${hex}`))
    expect(held.filter((digest) => files.has(digest)).sort()).toEqual(
      [...new Set(arm64.blobs.map((blob) => digestOf(blob)))].sort(),
    )
    const none = events(node, 'pull', { image: 'app:1', platforms: ['linux/s390x'] })
    await expect(none).rejects.toThrow(/there is no linux\/s390x of it; there is linux\/amd64, linux\/arm64\/v8/)
    await expect(events(node, 'pull', { image: 'app:1', platforms: ['arm'] })).rejects.toThrow(
      /a platform such as linux\/amd64/,
    )
  })

  it('from peers, while upstream is away', async () => {
    const { node, start, upstream } = await setUp({ tags: { trustPeers: 'always' } })
    await events(node, 'pull', { image: 'app:1' })
    await upstream.close()
    const other = await start({ seeds: [node] })
    await untilConnected(node, other)
    const told = await events(other, 'pull', { image: `app@${digestOf(index)}` })
    const done = told.filter(({ event, state }) => event === 'layer' && state === 'done')
    expect(done.length).toBeGreaterThan(0)
    expect(done.every(({ source }) => source === 'peer')).toBe(true)
  })

  it('that can not be had, or kept, says why', async () => {
    const { node, start } = await setUp()
    await expect(events(node, 'pull', { image: 'app:2' })).rejects.toThrow(/docker.io\/library\/app:2/)
    await expect(events(node, 'pull', { image: 'nowhere.example/app' })).rejects.toThrow(
      /nowhere.example is not in this node's list/,
    )
    await expect(events(node, 'pull', { image: 'APP' })).rejects.toThrow(/"APP" is not a repository name/)
    const passing = await start({ config: { repositories: { neverCache: ['docker.io/**'], public: ['**'] } } })
    await expect(events(passing, 'pull', { image: 'app:1' })).rejects.toThrow(/are not kept: a rule forbids it/)
  }, 300_000)
})

describe('export', () => {
  it('is an OCI layout and a docker archive of all platforms, fetched where it is not here', async () => {
    const { node } = await setUp()
    const files = await exported(node, { image: 'app:1' })
    expect(blobsIn(files)).toEqual([...new Set([...pathsOf(amd64, arm64), pathOf(digestOf(index))])].sort())
    for (const [name, content] of files) {
      if (name.startsWith('blobs/')) expect(pathOf(digestOf(content))).toBe(name)
    }
    const { manifests } = JSON.parse(String(files.get('index.json')))
    const whole = 'docker.io/library/app:1'
    expect(manifests).toEqual([
      {
        mediaType: ociIndex,
        digest: digestOf(index),
        size: index.length,
        annotations: { 'io.containerd.image.name': whole, 'org.opencontainers.image.ref.name': '1' },
      },
    ])
    const own = process.arch === 'arm64' ? arm64 : amd64
    expect(JSON.parse(String(files.get('manifest.json')))).toEqual([
      {
        Config: pathOf(digestOf(own.blobs[0] ?? Buffer.alloc(0))),
        RepoTags: [whole],
        Layers: own.blobs.slice(1).map((blob) => pathOf(digestOf(blob))),
      },
    ])
    const one = await exported(node, { image: 'app:1', platform: 'linux/arm64' })
    expect(blobsIn(one)).toEqual(pathsOf(arm64))
    expect(JSON.parse(String(one.get('index.json'))).manifests).toMatchObject([{ digest: arm64.digest }])
    await expect(exported(node, { image: 'app:1', platform: 'linux/s390x' })).rejects.toThrow(
      /there is no linux\/s390x/,
    )
  })

  it('and import give the same image, and the same archive again', async () => {
    const { node, start } = await setUp()
    const archive = await at(node, async (control) => {
      const pieces: Uint8Array[] = []
      for await (const piece of control.download({ operation: 'export', input: { image: 'app:1' } }))
        pieces.push(Uint8Array.from(piece))
      return Buffer.concat(pieces)
    })
    const other = await start()
    await at(other, async (control) => {
      for await (const _ of control.upload(
        { operation: 'import', input: { name: 'copy:1' } },
        inPieces(archive, 65_536),
      ));
    })
    const got = await new RegistryClient(other.url, 'copy').send('GET', 'manifests/1')
    expect(digestOf(got.body)).toBe(digestOf(index))
    const files = await exported(other, { image: 'copy:1' })
    expect(blobsIn(files)).toEqual([...new Set([...pathsOf(amd64, arm64), pathOf(digestOf(index))])].sort())
    const port = new URL(other.url).port
    expect([...(await exported(other, { image: `localhost:${port}/copy:1` })).keys()]).toEqual([...files.keys()])
  })
})

describe('the commands', () => {
  it('pull and export, for people and for programs', async () => {
    const { node } = await setUp()
    const pulled = await layerd(node, ['pull', 'app:1', '--platform', 'linux/amd64'])
    expect(pulled).toMatchObject({ code: 0, stderr: '' })
    expect(pulled.stdout).toMatch(/^[0-9a-f]{12} {2}[\d.]+ KiB {2}done, .*\/s from registry$/m)
    expect(pulled.stdout).toMatch(/^docker.io\/library\/app:1 {2}sha256:[0-9a-f]{64} {2}linux\/amd64$/m)
    const file = join(await tempDir(), 'app.tar')
    await writeFile(file, 'before')
    const failed = await layerd(node, ['export', 'app:2', file])
    expect([failed.code, failed.stdout, await readFile(file, 'utf8')]).toEqual([1, '', 'before'])
    expect(failed.stderr).toMatch(/^layerd: .*app:2/)
    const done = await layerd(node, ['export', 'app:1', file, '--json'])
    expect(JSON.parse(done.stdout)).toEqual({ file, bytes: (await readFile(file)).length })
    expect((await readdir(join(file, '..'))).length).toBe(1)
    expect(await layerd(node, ['export', 'app:1', '/dev/null'])).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/is no file/),
    })
  })
})
