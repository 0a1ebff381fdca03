import { spawn } from 'node:child_process'
import { mkdir, readdir, symlink, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { text } from 'node:stream/consumers'
import { setTimeout as delay } from 'node:timers/promises'
import { gzipSync } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import { ControlClient } from '../../daemon/cli/control.ts'
import { digestOf } from '../../proxy/oci/digest.ts'
import {
  type ArchiveFile,
  blobFiles,
  dockerFiles,
  indexOf,
  inPieces,
  layoutFiles,
  tarOf,
} from '../fixtures/archives.ts'
import { pseudoRandomBytes } from '../fixtures/bytes.ts'
import { startTestNode, type TestNode } from '../fixtures/node.ts'
import { spawnNode } from '../fixtures/process.ts'
import { digestsOf, manifestOf, ociIndex, ociManifest, RegistryClient, testImage } from '../fixtures/registry-client.ts'
import { tempDir } from '../fixtures/temp-dir.ts'

const MiB = 2 ** 20
const bin = new URL('../../daemon/cli/bin.ts', import.meta.url).pathname
const amd64 = testImage([pseudoRandomBytes(MiB, 'a'), pseudoRandomBytes(300_000, 'b')])
const arm64 = testImage([pseudoRandomBytes(300_000, 'b'), pseudoRandomBytes(200_000, 'c')])
const index = indexOf({ 'linux/amd64': amd64, 'linux/arm64/v8': arm64 })
const named = (name: string) => ({ 'org.opencontainers.image.ref.name': name })

async function importTar(node: Pick<TestNode, 'dataDir'>, files: readonly ArchiveFile[] | Buffer, name?: string) {
  const bytes = Buffer.isBuffer(files) ? files : await tarOf(files)
  return await ControlClient.use({ dataDir: node.dataDir }, async (control) => {
    const input = name === undefined ? {} : { name }
    let last: Record<string, unknown> = {}
    for await (const event of control.upload({ operation: 'import', input }, inPieces(bytes, 50_000))) last = event
    return last.images as {
      name: string
      tags: string[]
      digest: string
      platforms: string[]
      missing: string[]
      isOfferedToAll: boolean
    }[]
  })
}

/** Runs the CLI. */
async function layerd(args: readonly string[], input?: Uint8Array) {
  const child = spawn(process.execPath, [bin, ...args], { stdio: ['pipe', 'pipe', 'pipe'] })
  child.stdin.on('error', () => {})
  child.stdin.end(input)
  const exited = new Promise<number | null>((resolve) => child.once('close', resolve))
  const [stdout, stderr, code] = await Promise.all([text(child.stdout), text(child.stderr), exited])
  return { stdout, stderr, code }
}

const uploadsLeft = async ({ dataDir }: TestNode) => (await readdir(join(dataDir, 'blobs/uploads'))).length

describe('an OCI layout', () => {
  it('is there with all platforms and unchanged digests, for all clients', async () => {
    const node = await startTestNode()
    const roots = [{ manifest: index, mediaType: ociIndex, annotations: named('ghcr.io/team/app:1') }]
    const blobs = [...blobFiles(amd64), ...blobFiles(arm64), ...blobFiles({ blobs: [], manifest: index })]
    const files = layoutFiles(blobs, roots)
    expect(await importTar(node, gzipSync(await tarOf(files)))).toEqual([
      {
        name: 'localhost/team/app',
        tags: ['1'],
        digest: digestOf(index),
        platforms: ['linux/amd64'],
        missing: [],
        isOfferedToAll: true,
      },
    ])
    const client = new RegistryClient(node.url, 'localhost/team/app')
    const got = await client.send('GET', 'manifests/1')
    expect([got.status, got.headers['content-type'], digestOf(got.body)]).toEqual([200, ociIndex, digestOf(index)])
    for (const image of [amd64, arm64]) expect(await client.pull(image, image.digest)).toEqual(digestsOf(image))
    expect(await uploadsLeft(node)).toBe(0)
    // A second time, and under another name: nothing changes, and no byte is kept twice.
    const before = (await node.status()).store.bytes
    await importTar(node, files)
    await importTar(node, files, 'other:2')
    expect((await node.status()).store.bytes).toBe(before)
    expect(await new RegistryClient(node.url, 'other').pull(arm64, arm64.digest)).toEqual(digestsOf(arm64))
  })

  it('without a name gets one from the user; a tag of its own is kept', async () => {
    const node = await startTestNode()
    const tagged = layoutFiles(blobFiles(amd64), [{ manifest: amd64.manifest, annotations: named('3.20') }])
    await expect(importTar(node, tagged)).rejects.toThrow(
      /has no name for its image: give one with --name NAME\[:TAG\]/,
    )
    expect(await importTar(node, tagged, 'app')).toMatchObject([{ name: 'app', tags: ['3.20'] }])
    expect(await importTar(node, tagged, 'localhost:5050/app:own')).toMatchObject([{ name: 'app', tags: ['own'] }])
    const bare = layoutFiles(blobFiles(amd64), [{ manifest: amd64.manifest }])
    expect(await importTar(node, bare, 'bare')).toMatchObject([{ name: 'bare', tags: ['latest'] }])
    await expect(importTar(node, bare, 'BARE')).rejects.toThrow(/is not a repository name/)
    await expect(importTar(node, bare, `app@${amd64.digest}`)).rejects.toThrow(/has a digest.*write NAME\[:TAG\]/)
    const official = [
      { manifest: amd64.manifest, annotations: { 'io.containerd.image.name': 'docker.io/library/alpine:3' } },
    ]
    const files = layoutFiles(blobFiles(amd64), official)
    expect(await importTar(node, files)).toMatchObject([{ name: 'alpine', tags: ['3'] }])
  })

  it('gets no name that Docker asks its mirrors for, unless its user gives it', async () => {
    const node = await startTestNode({ config: { registry: { offerPushes: 'never' } } })
    const roots = [{ manifest: amd64.manifest, annotations: named('docker.io/team/app:1') }]
    const files = layoutFiles(blobFiles(amd64), roots)
    expect(await importTar(node, files)).toMatchObject([{ name: 'localhost/team/app', isOfferedToAll: false }])
    const mirrored = new RegistryClient(node.url, 'team/app', {})
    expect((await mirrored.send('GET', 'manifests/1')).status).not.toBe(200)
    const whole = new RegistryClient(node.url, 'localhost/team/app')
    expect(await whole.pull(amd64, '1')).toEqual(digestsOf(amd64))
    expect(await importTar(node, files, 'team/app')).toMatchObject([{ name: 'team/app', tags: ['1'] }])
    expect(await mirrored.pull(amd64, '1')).toEqual(digestsOf(amd64))
    expect(await whole.pull(amd64, '1')).toEqual(digestsOf(amd64))
  })

  it('of a cache of BuildKit, an index of layers, has those, and is refused without them', async () => {
    const node = await startTestNode()
    const layer = pseudoRandomBytes(200_000, 'cache')
    const mediaType = 'application/vnd.oci.image.layer.v1.tar+gzip'
    const manifests = [
      { mediaType, digest: digestOf(layer), size: layer.length },
      { mediaType: ociManifest, digest: amd64.digest, size: amd64.manifest.length },
    ]
    const cache = manifestOf({ schemaVersion: 2, mediaType: ociIndex, manifests })
    const roots = [{ manifest: cache, mediaType: ociIndex, annotations: named('cache:1') }]
    const files = [...blobFiles({ blobs: [layer], manifest: cache }), ...blobFiles(amd64)]
    expect(await importTar(node, layoutFiles(files, roots))).toMatchObject([{ name: 'cache', missing: [] }])
    const got = await new RegistryClient(node.url, 'cache').send('GET', `blobs/${digestOf(layer)}`)
    expect(digestOf(got.body)).toBe(digestOf(layer))
    const only = manifestOf({ schemaVersion: 2, mediaType: ociIndex, manifests: manifests.slice(0, 1) })
    const without = layoutFiles(blobFiles({ blobs: [], manifest: only }), [{ ...roots[0], manifest: only }])
    await expect(importTar(node, without, 'other:1')).rejects.toThrow(/does not have all of other/)
  })

  it('tells how far it is while a layer comes, so that no client takes a node for dead', async () => {
    const node = await startTestNode()
    const roots = [{ manifest: amd64.manifest, annotations: named('slow:1') }]
    const tar = await tarOf(layoutFiles(blobFiles(amd64), roots))
    const { promise: isTold, resolve: tell } = Promise.withResolvers<void>()
    const slow = (async function* () {
      // In the middle of the first layer, until the node says something.
      yield tar.subarray(0, 300_000)
      const trickle = tar.subarray(300_000, 900_000)
      let isOver = false
      void isTold.then(() => (isOver = true))
      let at = 0
      for (; at < trickle.length && !isOver; at += 1_000) {
        yield trickle.subarray(at, at + 1_000)
        await Promise.race([isTold, delay(20)])
      }
      yield tar.subarray(300_000 + at)
    })()
    const bytes: number[] = []
    await ControlClient.use({ dataDir: node.dataDir }, async (control) => {
      for await (const event of control.upload({ operation: 'import', input: {} }, slow)) {
        if (event.event !== 'progress') continue
        bytes.push(Number(event.bytes))
        tell()
      }
    })
    expect(bytes[0]).toBeLessThan(MiB)
    expect(bytes[0]).toBeGreaterThan(300_000)
  })

  it('with several images has all of them, and a signature goes with its image', async () => {
    const node = await startTestNode()
    const subject = { mediaType: ociManifest, digest: amd64.digest, size: amd64.manifest.length }
    const signature = testImage([pseudoRandomBytes(100, 'signature')], { subject })
    const blobs = [amd64, arm64, signature].flatMap(blobFiles)
    const both = (second: string) =>
      layoutFiles(blobs, [
        { manifest: amd64.manifest, annotations: named('app:1') },
        { manifest: arm64.manifest, annotations: named(second) },
      ])
    expect(await importTar(node, both('app:2'))).toMatchObject([{ tags: ['1'] }, { tags: ['2'] }])
    await expect(importTar(node, both('docker.io/library/app:1'))).rejects.toThrow(/two images.*would be app:1.*--name/)
    await expect(importTar(node, both('app:2'), 'x:1')).rejects.toThrow(/2 images, which can't all be x:1/)
    const signed = [{ manifest: amd64.manifest, annotations: named('signed:1') }, { manifest: signature.manifest }]
    await importTar(node, layoutFiles(blobs, signed))
    const referrers = await new RegistryClient(node.url, 'signed').send('GET', `referrers/${amd64.digest}`)
    expect(JSON.parse(referrers.body.toString()).manifests).toMatchObject([{ digest: signature.digest }])
  })

  it('that has some platforms only can be pulled for those, and says what is missing', async () => {
    const node = await startTestNode()
    const roots = [{ manifest: index, mediaType: ociIndex, annotations: named('app:1') }]
    // As containerd exports it: all manifests, and the layers of one.
    const some = [
      ...blobFiles(amd64),
      ...blobFiles({ blobs: [], manifest: index }),
      ...blobFiles({ ...arm64, blobs: [] }),
    ]
    expect(await importTar(node, layoutFiles(some, roots))).toMatchObject([{ missing: [arm64.digest] }])
    const client = new RegistryClient(node.url, 'app')
    expect(digestOf((await client.send('GET', 'manifests/1')).body)).toBe(digestOf(index))
    expect(await client.pull(amd64, amd64.digest)).toEqual(digestsOf(amd64))
    expect((await client.send('GET', `manifests/${arm64.digest}`)).status).toBe(404)
    // What is missing may come later.
    const rest = [...blobFiles(arm64), ...blobFiles({ blobs: [], manifest: index })]
    expect(await importTar(node, layoutFiles(rest, roots))).toMatchObject([{ missing: [] }])
    expect(await client.pull(arm64, arm64.digest)).toEqual(digestsOf(arm64))
  })
})

const layers = [await tarOf([['etc/os', 'x']]), await tarOf([['bin/sh', pseudoRandomBytes(400_000, 'sh')]])]

describe('an archive of an old docker save', () => {
  it('gets a manifest, the same each time, and its layers stay as they are', async () => {
    const node = await startTestNode()
    const files = dockerFiles([...layers, layers[0] ?? Buffer.alloc(0)], ['app:1', 'localhost:5050/app:2'])
    const [image] = await importTar(node, files)
    expect(image).toMatchObject({ name: 'app', tags: ['1', '2'], platforms: ['linux/arm64'], missing: [] })
    const client = new RegistryClient(node.url, 'app')
    const manifest = JSON.parse((await client.send('GET', 'manifests/2')).body.toString())
    expect(manifest.layers.map((layer: { digest: string }) => layer.digest)).toEqual(
      [0, 1, 0].map((at) => digestOf(layers[at] ?? Buffer.alloc(0))),
    )
    for (const layer of layers) {
      expect(digestOf((await client.send('GET', `blobs/${digestOf(layer)}`)).body)).toBe(digestOf(layer))
    }
    expect(await importTar(node, files)).toMatchObject([{ digest: image?.digest }])
    const [zipped] = await importTar(node, dockerFiles(layers, ['zipped:1'], true))
    const second = await new RegistryClient(node.url, 'zipped').send('GET', `manifests/${zipped?.digest}`)
    expect(JSON.parse(second.body.toString()).layers[0].mediaType).toBe('application/vnd.oci.image.layer.v1.tar+gzip')
  })

  it('that is not what it says is refused', async () => {
    const node = await startTestNode()
    const files = dockerFiles(layers, ['app:1'])
    const swapped = files.map(
      ([name, content]): ArchiveFile => [name, name === '00000000/layer.tar' ? 'other' : content],
    )
    await expect(importTar(node, swapped)).rejects.toThrow(/is not the layer that the configuration of its image names/)
    const without = files.filter(([name]) => name !== '11111111/layer.tar')
    await expect(importTar(node, without)).rejects.toThrow(/names "11111111\/layer.tar", which is not in it/)
    const loop: ArchiveFile[] = [...without, ['11111111/layer.tar', { link: 'layer.tar' }]]
    await expect(importTar(node, loop)).rejects.toThrow(/which is not in it/)
    const outside: ArchiveFile[] = [...without, ['11111111/layer.tar', { link: '../../../../etc/passwd' }]]
    await expect(importTar(node, outside)).rejects.toThrow(/which is not in it/)
    await expect(
      importTar(
        node,
        files.filter(([name]) => name !== 'manifest.json'),
      ),
    ).rejects.toThrow(/neither an index.json/)
    await expect(importTar(node, dockerFiles(layers, []))).rejects.toThrow(/--name/)
  })
})

describe('a bad archive is refused with a reason, and leaves nothing', () => {
  const roots = [{ manifest: amd64.manifest, annotations: named('app:1') }]
  const good = layoutFiles(blobFiles(amd64), roots)
  const [firstBlob = ['', '']] = good
  const deep = (levels: number) => {
    const files: ArchiveFile[] = []
    let manifest = manifestOf({ schemaVersion: 2, mediaType: ociIndex, manifests: [] })
    for (let level = 0; level < levels; level++) {
      files.push(...blobFiles({ blobs: [], manifest }))
      const inner = { mediaType: ociIndex, digest: digestOf(manifest), size: manifest.length }
      manifest = manifestOf({ schemaVersion: 2, mediaType: ociIndex, manifests: [inner] })
    }
    files.push(...blobFiles({ blobs: [], manifest }))
    return layoutFiles(files, [{ manifest, mediaType: ociIndex, annotations: named('app:1') }])
  }
  it.each<[string, readonly ArchiveFile[], RegExp]>([
    [
      'a blob that is another one',
      [[firstBlob[0], 'other'], ...good.slice(1)],
      /damaged: .* is not what its name says/,
    ],
    [
      'a layer that is missing',
      good.filter(([name]) => name !== firstBlob[0]),
      /does not have all of app .*it lacks sha256:/,
    ],
    ['no image', layoutFiles([], []), /the archive has no image/],
    ['an index that is no JSON', [...good.slice(0, -1), ['index.json', '{']], /index.json of the archive is no JSON/],
    [
      'an index without digests',
      [...good.slice(0, -1), ['index.json', '{"manifests":[{"digest":1}]}']],
      /manifests\.0\.digest/,
    ],
    ['indexes in indexes', deep(8), /more than 4 deep/],
    [
      'a manifest that is none',
      layoutFiles(
        [[`blobs/${digestOf(Buffer.from('[]')).replace(':', '/')}`, '[]']],
        [{ manifest: Buffer.from('[]'), annotations: named('app:1') }],
      ),
      /not a JSON object/,
    ],
    ['a long document', [['index.json', Buffer.alloc(17 * MiB)]], /that is too long/],
  ])('%s', async (_, files, message) => {
    const node = await startTestNode()
    await expect(importTar(node, files)).rejects.toThrow(message)
    expect(await uploadsLeft(node)).toBe(0)
    expect((await new RegistryClient(node.url, 'app').send('GET', 'manifests/1')).status).toBe(404)
    expect(await importTar(node, good)).toMatchObject([{ name: 'app' }])
  })

  it('one for which there is no room', async () => {
    const node = await startTestNode({ config: { store: { maxSize: '4 MiB' } } })
    const large = testImage([pseudoRandomBytes(5 * MiB, 'large')])
    const files = layoutFiles(blobFiles(large), [{ manifest: large.manifest, annotations: named('app:1') }])
    await expect(importTar(node, files)).rejects.toThrow(/there is no room for it on this node/)
    expect(await uploadsLeft(node)).toBe(0)
    expect((await node.status()).store.bytes).toBe(0)
  })
})

describe('layerd import', () => {
  it('takes a folder, a file and standard input; --json says the same for programs', async () => {
    const node = await startTestNode()
    const folder = await tempDir()
    const files = layoutFiles(
      [...blobFiles(amd64), ...blobFiles(arm64), ...blobFiles({ blobs: [], manifest: index })],
      [{ manifest: index, mediaType: ociIndex, annotations: named('app:1') }],
    )
    for (const [name, content] of files) {
      const path = join(folder, 'layout', name)
      await mkdir(dirname(path), { recursive: true })
      await writeFile(path, content as Uint8Array)
    }
    const flags = ['--data-dir', node.dataDir]
    const told = await layerd(['import', join(folder, 'layout'), ...flags])
    const offered = '  offered to whoever is on this network; registry.offerPushes (closed, never) changes that'
    expect(told).toEqual({ code: 0, stderr: '', stdout: `app:1  ${digestOf(index)}  linux/amd64\n${offered}\n` })
    const tar = await tarOf(files)
    await writeFile(join(folder, 'a.tar'), tar)
    expect((await layerd(['import', join(folder, 'a.tar'), '--name', 'b:2', ...flags])).stdout).toMatch(/^b:2 {2}/)
    const json = await layerd(['import', '-', '--name', 'c', '--json', ...flags], gzipSync(tar))
    expect(JSON.parse(json.stdout)).toMatchObject({ images: [{ name: 'c', tags: ['1'], missing: [] }] })
    for (const name of ['app', 'b', 'c']) {
      expect(await new RegistryClient(node.url, name).pull(arm64, arm64.digest)).toEqual(digestsOf(arm64))
    }
  })

  it('says what is wrong, and exits with 1, or with 2 for bad usage', async () => {
    const node = await startTestNode()
    const flags = ['--data-dir', node.dataDir]
    const folder = await tempDir()
    const dangling = join(await tempDir(), 'layout')
    await mkdir(join(dangling, 'blobs/sha256'), { recursive: true })
    await writeFile(join(dangling, 'index.json'), '{}')
    await symlink('/no/such', join(dangling, 'blobs/sha256', '00'))
    for (const [args, code, message] of [
      [['import', '/no/such', ...flags], 1, /\/no\/such: there is no such file/],
      [['import', folder, ...flags], 1, /is no OCI layout: it has no index.json/],
      [['import', dangling, ...flags], 1, /can't be read: .*ENOENT/],
      [['import', bin, ...flags], 1, /is no tar archive|no tar archive/],
      [['import', '-', '--data-dir', folder], 1, /no node runs with this data folder/],
      [['import', ...flags], 2, /missing required argument 'source'/],
    ] as const) {
      const told = await layerd(args, await tarOf([['a', 'b']]))
      expect([told.code, told.stdout], args.join(' ')).toEqual([code, ''])
      expect(told.stderr).toMatch(message)
    }
  })

  it('of a node that is killed at any moment loses nothing that was acknowledged', async () => {
    const dataDir = await tempDir()
    const images = Array.from({ length: 4 }, (_, at) => testImage([pseudoRandomBytes(2 * MiB, `killed ${at}`)]))
    const files = layoutFiles(
      images.flatMap(blobFiles),
      images.map(({ manifest }, at) => ({ manifest, annotations: named(`app:${at}`) })),
    )
    const tar = await tarOf(files)
    const acknowledged = new Set<string>()
    let node = await spawnNode(dataDir, [])
    for (const killedAt of [3, 14]) {
      await ControlClient.use({ dataDir }, async (control) => {
        let events = 0
        for await (const event of control.upload({ operation: 'import', input: {} }, inPieces(tar))) {
          if (event.event === 'image') acknowledged.add(String((event.tags as string[])[0]))
          if (++events === killedAt) await node.kill()
        }
      }).catch(() => {})
      await node.kill()
      node = await spawnNode(dataDir, [])
      expect(await readdir(join(dataDir, 'blobs/uploads'))).toEqual([])
      const client = new RegistryClient(node.url, 'app')
      for (const tag of acknowledged) {
        const image = images[Number(tag)]
        expect(image && (await client.pull(image, tag)), tag).toEqual(image && digestsOf(image))
      }
    }
    expect(acknowledged.size).toBeGreaterThan(0)
  }, 300_000)
})
