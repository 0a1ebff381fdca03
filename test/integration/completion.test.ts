import { describe, expect, it, onTestFinished } from 'vitest'
import { type Digest, digestOf } from '../../proxy/oci/digest.ts'
import { pseudoRandomBytes } from '../fixtures/bytes.ts'
import { ask } from '../fixtures/client.ts'
import { FakeUpstream, faults } from '../fixtures/fake-upstream.ts'
import { startTestNode, type TestNode, type TestNodeOptions, until, untilConnected } from '../fixtures/node.ts'

const engine = { 'user-agent': 'docker/28.5.1 go/go1.24 os/linux arch/amd64' }
const other = { 'user-agent': 'skopeo/1.18.0' }
const isBlob = /GET .*\/blobs\//
const completed = 'an image is held whole: what its client had already was fetched, too'
const left = 'an image is not held whole, and what it lacks is not fetched'

interface Image {
  readonly manifest: Digest
  readonly config: Digest
  readonly layers: readonly Digest[]
}

function addImage(upstream: FakeUpstream, name: string, layers: readonly Uint8Array[]): Image {
  const describe = (bytes: Uint8Array, mediaType: string) => ({
    mediaType,
    digest: upstream.addBlob(bytes),
    size: bytes.length,
  })
  const config = describe(Buffer.from(JSON.stringify({ name })), 'application/vnd.oci.image.config.v1+json')
  const described = layers.map((layer) => describe(layer, 'application/vnd.oci.image.layer.v1.tar'))
  const manifest = upstream.addManifest({ schemaVersion: 2, config, layers: described })
  return { manifest, config: config.digest, layers: described.map(({ digest }) => digest) }
}

/** An index of the images. */
function addIndex(upstream: FakeUpstream, images: readonly Image[]): Digest {
  const mediaType = 'application/vnd.oci.image.index.v1+json'
  const manifests = images.map(({ manifest }) => ({
    mediaType: 'application/vnd.oci.image.manifest.v1+json',
    digest: manifest,
    size: 500,
  }))
  return upstream.addManifest({ schemaVersion: 2, mediaType, manifests }, mediaType)
}

async function startUpstream(): Promise<FakeUpstream> {
  const upstream = await FakeUpstream.start()
  onTestFinished(() => upstream.close())
  return upstream
}

async function startNode(upstream: FakeUpstream, options: TestNodeOptions = {}): Promise<TestNode> {
  return await startTestNode({
    registries: { 'docker.io': upstream.url },
    ...options,
    config: { ...options.config, store: { completeRate: '1GiB', ...options.config?.store } },
  })
}

type Headers = Readonly<Record<string, string>>

const layer = (name: string, size = 300_000) => pseudoRandomBytes(size, name)
const getManifest = (node: TestNode, digest: Digest, headers: Headers) =>
  get(node, `/v2/app/manifests/${digest}`, headers)
const getBlob = (node: TestNode, digest: Digest, headers: Headers) => get(node, `/v2/app/blobs/${digest}`, headers)

async function get(node: TestNode, path: string, headers: Headers) {
  const answer = await ask(node.url, path, { headers: { ...headers } })
  expect([answer.status, answer.complete]).toEqual([200, true])
  return answer
}

const said = (node: TestNode, text: string) => node.log.filter(({ msg }) => msg === text)
const blobs = async (node: TestNode) => (await node.status()).store.blobs

describe('an image of which a client fetches a part', () => {
  it('is held whole when the client is done: by an engine that lacks a layer, or none', async () => {
    const upstream = await startUpstream()
    const node = await startNode(upstream)
    const base = layer('base')
    const [one, two] = [addImage(upstream, 'one', [base, layer('one')]), addImage(upstream, 'two', [layer('two')])]
    await getManifest(node, one.manifest, engine)
    await getBlob(node, one.config, engine)
    await getBlob(node, one.layers[1] as Digest, engine)
    await getManifest(node, two.manifest, engine)
    await getBlob(node, two.config, engine)
    await until(() => said(node, completed).length === 2)
    expect(await blobs(node)).toBe(7)
    expect(upstream.seen(isBlob)).toHaveLength(5)
    await upstream.close()
    expect(digestOf((await getBlob(node, one.layers[0] as Digest, engine)).body)).toBe(digestOf(base))
  })

  it('is held whole as the client has shown that it pulls it, whoever it is', async () => {
    const upstream = await startUpstream()
    const node = await startNode(upstream)
    const image = addImage(upstream, 'image', [layer('base'), layer('top')])
    await getManifest(node, image.manifest, other)
    await getBlob(node, image.layers[1] as Digest, other)
    await until(() => said(node, completed).length === 1)
    expect(await blobs(node)).toBe(4)
  })

  it('is left alone where somebody has merely looked at it', async () => {
    const upstream = await startUpstream()
    const node = await startNode(upstream)
    const images = ['amd64', 'arm64', 'pulled'].map((name) => addImage(upstream, name, [layer(name)]))
    const [amd64, arm64, pulled] = images as [Image, Image, Image]
    const index = addIndex(upstream, [amd64, arm64])
    // As docker manifest inspect does, and as skopeo inspect does; and HEAD only.
    for (const digest of [index, amd64.manifest, arm64.manifest]) await getManifest(node, digest, engine)
    await getBlob(node, amd64.config, engine)
    await getManifest(node, arm64.manifest, other)
    await getBlob(node, arm64.config, other)
    await ask(node.url, `/v2/app/manifests/${pulled.manifest}`, { method: 'HEAD', headers: { ...engine } })
    const before = upstream.seen(isBlob).length
    // What comes after them is looked at after them.
    const last = addImage(upstream, 'last', [layer('last')])
    await getManifest(node, last.manifest, engine)
    await getBlob(node, last.config, engine)
    await until(() => said(node, completed).length === 1)
    expect(upstream.seen(isBlob)).toHaveLength(before + 2)
  })

  it('is fetched for its platform only', async () => {
    const upstream = await startUpstream()
    const node = await startNode(upstream)
    const [amd64, arm64] = ['amd64', 'arm64'].map((name) => addImage(upstream, name, [layer(name)])) as [Image, Image]
    const index = addIndex(upstream, [amd64, arm64])
    await getManifest(node, index, engine)
    await getManifest(node, amd64.manifest, engine)
    await getBlob(node, amd64.config, engine)
    await until(() => said(node, completed).length === 1)
    expect(upstream.seen(isBlob).map(({ path }) => path.slice(path.lastIndexOf('/') + 1))).toEqual([
      amd64.config,
      ...amd64.layers,
    ])
  })

  it('gives way to what a client asks for, and goes on after it', async () => {
    const upstream = await startUpstream()
    const node = await startNode(upstream)
    const image = addImage(upstream, 'image', [layer('base', 2_000_000)])
    const wanted = upstream.addBlob(layer('wanted'))
    const { promise: gate, resolve: open } = Promise.withResolvers<void>()
    onTestFinished(() => open())
    upstream.hold(`GET /v2/library/app/blobs/${image.layers[0]}`, gate)
    await getManifest(node, image.manifest, engine)
    await getBlob(node, image.config, engine)
    await upstream.waitForRequest(`GET /v2/library/app/blobs/${image.layers[0]}`)
    await getBlob(node, wanted, engine)
    open()
    await until(() => said(node, completed).length === 1)
    expect(upstream.seen(`GET /v2/library/app/blobs/${image.layers[0]}`).length).toBeGreaterThan(1)
  })

  it('comes to the client that asks for it while it comes', async () => {
    const upstream = await startUpstream()
    const node = await startNode(upstream)
    const base = layer('base', 2_000_000)
    const image = addImage(upstream, 'image', [base])
    const { promise: gate, resolve: open } = Promise.withResolvers<void>()
    onTestFinished(() => open())
    const path = `GET /v2/library/app/blobs/${image.layers[0]}`
    upstream.hold(path, gate)
    await getManifest(node, image.manifest, engine)
    await getBlob(node, image.config, engine)
    await upstream.waitForRequest(path)
    const pulling = getBlob(node, image.layers[0] as Digest, engine)
    open()
    expect(digestOf((await pulling).body)).toBe(digestOf(base))
    expect(upstream.seen(path)).toHaveLength(1)
  })

  it('is not fetched in the place of what was used lately, nor beyond the limit, nor where it is turned off', async () => {
    const upstream = await startUpstream()
    const image = addImage(upstream, 'image', [layer('base', 3_000_000)])
    const used = upstream.addBlob(layer('used', 2_000_000))
    const full = await startNode(upstream, { config: { store: { maxSize: '4MiB' } } })
    await getBlob(full, used, engine)
    await getManifest(full, image.manifest, engine)
    await getBlob(full, image.config, engine)
    await until(() => said(full, left).length === 1)
    expect(said(full, left)[0]?.reason).toContain('there is no free room')
    expect((await getBlob(full, used, engine)).body.length).toBe(2_000_000)
    const small = await startNode(upstream, { config: { store: { completeLimit: '1MiB' } } })
    await getManifest(small, image.manifest, engine)
    await getBlob(small, image.config, engine)
    await until(() => said(small, left).length === 1)
    expect(said(small, left)[0]?.reason).toContain('store.completeLimit')
    expect(upstream.seen(`GET /v2/library/app/blobs/${image.layers[0]}`)).toEqual([])
  })

  it('is left as it is where a layer is not as long as its manifest says', async () => {
    const upstream = await startUpstream()
    const node = await startNode(upstream)
    const digest = upstream.addBlob(layer('long', 20_000_000))
    const config = {
      mediaType: 'application/vnd.oci.image.config.v1+json',
      digest: upstream.addBlob(Buffer.from('{}')),
      size: 2,
    }
    const layers = [{ mediaType: 'application/vnd.oci.image.layer.v1.tar', digest, size: 10 }]
    const manifest = upstream.addManifest({ schemaVersion: 2, config, layers })
    await getManifest(node, manifest, engine)
    await getBlob(node, config.digest, engine)
    await until(() => said(node, left).length === 1)
    expect(said(node, left)[0]?.reason).toContain('20000000 bytes, and its manifest says 10')
    expect(await blobs(node)).toBe(2)
  })

  it('is tried again where upstream fails', async () => {
    const upstream = await startUpstream()
    const node = await startNode(upstream, { config: { upstream: { attempts: 1 } } })
    const image = addImage(upstream, 'image', [layer('base')])
    upstream.inject(`GET /v2/library/app/blobs/${image.layers[0]}`, faults.status(500), 1)
    await getManifest(node, image.manifest, engine)
    await getBlob(node, image.config, engine)
    await until(() => said(node, completed).length === 1)
  })
})

describe('a private image', () => {
  it('is fetched with what its client has given, which is written nowhere', async () => {
    const upstream = await startUpstream()
    upstream.requireBasic('kim', 'quiet-river')
    const node = await startNode(upstream, { isClosed: true })
    const image = addImage(upstream, 'image', [layer('base'), layer('top')])
    const authorization = `Basic ${Buffer.from('kim:quiet-river').toString('base64')}`
    await getManifest(node, image.manifest, { ...engine, authorization })
    await getBlob(node, image.config, { ...engine, authorization })
    await until(() => said(node, completed).length === 1)
    expect(await blobs(node)).toBe(4)
    expect((await ask(node.url, `/v2/app/blobs/${image.layers[0]}`)).status).toBe(401)
    expect(JSON.stringify(node.log)).not.toContain(authorization.slice('Basic '.length))
  })

  it('is left as it is where no peer may have it', async () => {
    const upstream = await startUpstream()
    upstream.requireBasic('kim', 'quiet-river')
    const node = await startNode(upstream)
    const image = addImage(upstream, 'image', [layer('base'), layer('top')])
    const authorization = `Basic ${Buffer.from('kim:quiet-river').toString('base64')}`
    await getManifest(node, image.manifest, { ...engine, authorization })
    await getBlob(node, image.layers[1] as Digest, { ...engine, authorization })
    const before = upstream.seen(isBlob).length
    // What comes after it is looked at after it.
    const shared = await startNode(upstream, { isClosed: true })
    await getManifest(shared, image.manifest, { ...engine, authorization })
    await getBlob(shared, image.layers[1] as Digest, { ...engine, authorization })
    await until(() => said(shared, completed).length === 1)
    expect(upstream.seen(isBlob).length).toBeGreaterThan(before)
    expect(await blobs(node)).toBe(2)
  })

  it('is left as it is when the decision about its client does not hold any more', async () => {
    const upstream = await startUpstream()
    upstream.requireBasic('kim', 'quiet-river')
    const node = await startNode(upstream, { isClosed: true, config: { access: { freshFor: '1s' } } })
    const image = addImage(upstream, 'image', [layer('base')])
    const authorization = `Basic ${Buffer.from('kim:quiet-river').toString('base64')}`
    await getManifest(node, image.manifest, { ...engine, authorization })
    await getBlob(node, image.config, { ...engine, authorization })
    await until(() => said(node, left).length === 1)
    expect(upstream.seen(isBlob)).toHaveLength(1)
  })
})

describe('a fleet whose clients lack different layers', () => {
  it('holds the image at each node, and has read it from upstream once', async () => {
    const upstream = await startUpstream()
    const seed = await startNode(upstream, { isClosed: true })
    const others = [
      await startNode(upstream, { isClosed: true, seeds: [seed] }),
      await startNode(upstream, { isClosed: true, seeds: [seed] }),
    ]
    const nodes = [seed, ...others]
    await untilConnected(...nodes)
    const image = addImage(upstream, 'image', [layer('a', 3_000_000), layer('b', 3_000_000), layer('c', 3_000_000)])
    await Promise.all(
      nodes.map(async (node, index) => {
        await getManifest(node, image.manifest, engine)
        await getBlob(node, image.config, engine)
        await getBlob(node, image.layers[index] as Digest, engine)
      }),
    )
    for (const node of nodes) await until(() => said(node, completed).length === 1)
    const read = await Promise.all(nodes.map((node) => node.metric('layerd_fetched_bytes_total{source="upstream"}')))
    // Streams that end at a chunk's end have begun with what comes next.
    expect(read.reduce((sum, bytes) => sum + bytes)).toBeLessThan(9_100_000 * 1.1)
    for (const node of nodes) expect(await blobs(node)).toBe(5)
  })
})

describe('an image of a peer, while its registry can not be asked', () => {
  it('is held whole in an open swarm, too', async () => {
    const upstream = await startUpstream()
    const first = await startNode(upstream)
    const image = addImage(upstream, 'image', [layer('base'), layer('top')])
    await getManifest(first, image.manifest, other)
    for (const digest of [image.config, ...image.layers]) await getBlob(first, digest, other)
    await until(async () => (await blobs(first)) === 4)
    await upstream.close()
    const second = await startNode(upstream, { seeds: [first] })
    await untilConnected(first, second)
    await getManifest(second, image.manifest, engine)
    await getBlob(second, image.layers[1] as Digest, engine)
    await until(() => said(second, completed).length === 1)
    expect(await blobs(second)).toBe(4)
  })
})
