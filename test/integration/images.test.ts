import { spawn } from 'node:child_process'
import { readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { readArchive } from '../../daemon/archive/read.ts'
import { ControlClient, type ControlEvent } from '../../daemon/cli/control.ts'
import { type Digest, digestOf } from '../../proxy/oci/digest.ts'
import { indexOf, inPieces } from '../fixtures/archives.ts'
import { pseudoRandomBytes } from '../fixtures/bytes.ts'
import { FakeUpstream } from '../fixtures/fake-upstream.ts'
import { startTestNode, type TestNode, until, untilConnected } from '../fixtures/node.ts'
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

const ask = <Answer>(node: TestNode, operation: string, input: object = {}) =>
  at(node, (control) => control.ask({ operation, input })) as Promise<Answer>

interface Listed {
  readonly name: string
  readonly isComplete: boolean
  readonly isPinned: boolean
  readonly origin: string
  readonly platforms: readonly string[]
  readonly incomplete: readonly {
    readonly platform: string
    readonly missingBlobs: number
    readonly missingBytes: number
  }[]
}

const listed = async (node: TestNode) => (await ask<{ images: Listed[] }>(node, 'images')).images
const app = 'docker.io/library/app:1'
const sizeOf = (images: readonly TestImage[]) =>
  [
    ...new Map(
      images.flatMap(({ blobs, manifest }) => [...blobs, manifest]).map((bytes) => [digestOf(bytes), bytes.length]),
    ).values(),
  ].reduce((sum, size) => sum + size, 0)

describe('images', () => {
  it('are listed with what is missing of them, pushed or not, by tag or digest', async () => {
    const { node } = await setUp()
    expect(await listed(node)).toEqual([])
    const client = new RegistryClient(node.url, 'docker.io/library/app', {})
    // As a client that has the first layer already.
    await client.send('GET', 'manifests/1')
    await client.send('GET', `manifests/${amd64.digest}`)
    for (const blob of [amd64.blobs[0], amd64.blobs[2]])
      await client.send('GET', `blobs/${digestOf(blob ?? Buffer.alloc(0))}`)
    await until(async () => (await node.status()).store.blobs === 4)
    expect(await listed(node)).toMatchObject([
      {
        name: app,
        origin: 'registry',
        isComplete: false,
        isPinned: false,
        platforms: [],
        incomplete: [{ platform: 'linux/amd64', missingBlobs: 1, missingBytes: 900_000 }],
      },
    ])
    await events(node, 'pull', { image: 'app:1', platforms: ['linux/amd64'] })
    await new RegistryClient(node.url, 'own').push(arm64, '2')
    const pushed = { name: 'localhost/own:2', origin: 'pushed', isComplete: true, platforms: ['linux/amd64'] }
    // Of the other platform a layer is here, which both share.
    const [cached, own] = await listed(node)
    expect(own).toMatchObject(pushed)
    expect(cached).toMatchObject({ name: app, platforms: expect.arrayContaining(['linux/amd64']) })
  })

  it('that were pulled by digest have their digest as a name', async () => {
    const { node } = await setUp()
    await events(node, 'pull', { image: `app@${arm64.digest}` })
    expect(await listed(node)).toMatchObject([{ name: `docker.io/library/app@${arm64.digest}`, isComplete: true }])
  })
})

describe('pin', () => {
  it('keeps an image that would be evicted, across a restart, until it is unpinned', async () => {
    const { upstream, start } = await setUp()
    const dataDir = await tempDir()
    const settings = { dataDir, config: { store: { maxSize: '4 MiB' } } }
    const node = await start(settings)
    await events(node, 'pin', { image: 'app:1' })
    const pull = async (to: TestNode, seed: string) => {
      for (let at = 0; at < 6; at++) {
        const layer = upstream.addBlob(pseudoRandomBytes(900_000, `${seed} ${at}`))
        await new RegistryClient(to.url, 'docker.io/library/x', {}).send('GET', `blobs/${layer}`)
      }
    }
    await pull(node, 'first')
    expect(await listed(node)).toMatchObject([{ name: app, isComplete: true, isPinned: true }])
    await expect(ask(node, 'remove', { image: 'app:1' })).rejects.toThrow(
      /is pinned: "layerd unpin docker.io\/library\/app:1" comes first/,
    )
    await node.stop()
    const again = await start(settings)
    await pull(again, 'second')
    expect(await listed(again)).toMatchObject([{ name: app, isComplete: true, isPinned: true }])
    expect((await again.status()).store.evictedBlobs).toBeGreaterThan(0)
    expect(await ask(again, 'unpin', { image: 'app:1' })).toEqual({ name: app })
    await expect(ask(again, 'unpin', { image: 'app:1' })).rejects.toThrow(
      /is not pinned: "layerd images" lists what is/,
    )
    await pull(again, 'third')
    expect((await listed(again)).filter(({ isComplete }) => isComplete)).toEqual([])
  })
})

describe('rm', () => {
  it('removes an image of a registry, but for what others need', async () => {
    const { node, upstream } = await setUp()
    upstream.tag('library/app', 'amd', amd64.digest)
    await events(node, 'pull', { image: 'app:1' })
    await events(node, 'pull', { image: 'app:amd' })
    const removed = await ask<{ bytes: number }>(node, 'remove', { image: 'app:1' })
    expect(removed.bytes).toBe(sizeOf([arm64]) + index.length - 300_000)
    expect(await listed(node)).toMatchObject([{ name: 'docker.io/library/app:amd', isComplete: true }])
    await ask(node, 'remove', { image: 'app:amd' })
    expect((await node.status()).store.bytes).toBe(0)
    await expect(ask(node, 'remove', { image: 'app:1' })).rejects.toThrow(/is not here: "layerd images" lists what is/)
  })

  it('removes an image that was pushed, with its signature, and leaves what others in its repository need', async () => {
    const { node } = await setUp()
    const client = new RegistryClient(node.url, 'own')
    const subject = { mediaType: ociManifest, digest: amd64.digest, size: amd64.manifest.length }
    const signature = testImage([pseudoRandomBytes(100, 'signature')], { subject })
    await client.push(amd64, '1')
    await client.putManifest('same', amd64.manifest)
    await client.push(signature, signature.digest)
    await client.push(arm64, 'arm')
    expect(await ask(node, 'remove', { image: 'localhost/own:same' })).toMatchObject({ blobs: 0 })
    expect((await client.pull(amd64, '1')).includes(undefined)).toBe(false)
    await ask(node, 'remove', { image: 'localhost/own:1' })
    expect(await client.pull(arm64, 'arm')).toEqual([arm64.digest, ...arm64.blobs.map((blob) => digestOf(blob))])
    expect((await node.status()).store.bytes).toBe(sizeOf([arm64]))
    await ask(node, 'remove', { image: `localhost/own@${arm64.digest}` })
    expect((await node.status()).store.bytes).toBe(0)
    await expect(ask(node, 'remove', { image: 'localhost/own:1' })).rejects.toThrow(/has no 1/)
  })
})

describe('refresh', () => {
  it("asks the registry, however fresh the tag is, and takes nobody else's word", async () => {
    const { node, upstream } = await setUp({ tags: { freshFor: '1h' } })
    await events(node, 'pull', { image: 'app:1', platforms: ['linux/amd64'] })
    upstream.tag('library/app', '1', arm64.digest)
    const resolved = async () =>
      (await new RegistryClient(node.url, 'docker.io/library/app', {}).send('HEAD', 'manifests/1')).headers[
        'docker-content-digest'
      ]
    expect(await resolved()).toBe(digestOf(index))
    expect(await ask(node, 'refresh', { image: 'app:1' })).toEqual({
      name: app,
      before: digestOf(index),
      digest: arm64.digest,
    })
    expect(await resolved()).toBe(arm64.digest)
    await upstream.close()
    await expect(ask(node, 'refresh', { image: 'app:1' })).rejects.toThrow(/docker.io/)
    await expect(ask(node, 'refresh', { image: `app@${arm64.digest}` })).rejects.toThrow(
      /is a digest, which never changes: give a tag/,
    )
    await expect(ask(node, 'refresh', { image: 'localhost/own:1' })).rejects.toThrow(/there is no registry to ask/)
  })
})

describe('gc', () => {
  it('says what no image needs, and removes it', async () => {
    const { node, upstream } = await setUp()
    await events(node, 'pull', { image: 'app:1' })
    await new RegistryClient(node.url, 'own').push(arm64, '2')
    const lonely = upstream.addBlob(pseudoRandomBytes(50_000, 'lonely'))
    await new RegistryClient(node.url, 'docker.io/library/x', {}).send('GET', `blobs/${lonely}`)
    await until(async () => (await readdir(join(node.dataDir, 'blobs/sha256'))).includes(lonely.slice(7)))
    // Its manifest may be on its way for an hour.
    expect(await ask(node, 'collect', { isDry: true })).toMatchObject({ unnamed: { blobs: 0 } })
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 3_700_000 })
    onTestFinished(() => void vi.useRealTimers())
    const freed = { unnamed: { blobs: 1, bytes: 50_000 }, parts: { blobs: 0, bytes: 0 } }
    expect(await ask(node, 'collect', { isDry: true })).toEqual(freed)
    expect(await ask(node, 'collect', { isDry: false })).toEqual(freed)
    expect(await ask(node, 'collect', { isDry: true })).toMatchObject({ unnamed: { blobs: 0 } })
    expect((await listed(node)).map(({ isComplete }) => isComplete)).toEqual([true, true])
  })
})
