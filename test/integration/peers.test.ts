import { describe, expect, it, onTestFinished } from 'vitest'
import { quarterBytes as chunkBytes } from '../../daemon/verify/quarter.ts'
import { digestOf } from '../../proxy/oci/digest.ts'
import { pseudoRandomBytes } from '../fixtures/bytes.ts'
import { ask } from '../fixtures/client.ts'
import { FakeUpstream, faults } from '../fixtures/fake-upstream.ts'
import {
  startTestNode,
  swarmKeyFile,
  type TestNode,
  type TestNodeOptions,
  until,
  untilConnected,
} from '../fixtures/node.ts'
import { startNodeWithPeers } from '../fixtures/peers.ts'
import type { MemoryContent } from '../fixtures/swarm.ts'

const ociManifest = 'application/vnd.oci.image.manifest.v1+json'
const layer = pseudoRandomBytes(4 * chunkBytes + 1)
const basic = (text: string) => ({ authorization: `Basic ${Buffer.from(text).toString('base64')}` })

async function startUpstream(): Promise<FakeUpstream> {
  const upstream = await FakeUpstream.start()
  onTestFinished(() => upstream.close())
  return upstream
}

/** The configuration of a swarm that others can't join. */
async function closedSwarm() {
  return { swarmKey: await swarmKeyFile() }
}

/** Two nodes that know each other, and an upstream with an image. */
async function setUp(config: TestNodeOptions['config'] = {}, size?: number) {
  const upstream = await startUpstream()
  const registries = { 'docker.io': upstream.url }
  const a = await startTestNode({ registries, config })
  const b = await startTestNode({ registries, config, seeds: [a] })
  await untilConnected(a, b)
  const blob = upstream.addBlob(layer)
  const manifest = upstream.addManifest({ schemaVersion: 2, mediaType: ociManifest, layers: [{ digest: blob, size }] })
  upstream.tag('library/app', 'latest', manifest)
  return { upstream, a, b, blob, manifest }
}

/** Waits until a node has put so many blobs into its store and announced them. */
async function untilAnnounced(node: TestNode, blobs: number): Promise<void> {
  await until(async () => {
    const { store, provided, provideQueue } = await node.status()
    return store.blobs >= blobs && provided >= blobs && provideQueue === 0
  })
}

describe('a node without upstream', () => {
  it('has from its peer what the peer had from upstream: tag, manifest and blob', async () => {
    const { upstream, a, b, blob, manifest } = await setUp({ tags: { trustPeers: 'offline' } })
    await ask(a.url, '/v2/app/manifests/latest')
    await ask(a.url, `/v2/app/blobs/${blob}`)
    await untilAnnounced(a, 2)
    await upstream.close()
    const byTag = await ask(b.url, '/v2/app/manifests/latest')
    expect(byTag).toMatchObject({
      status: 200,
      headers: {
        'docker-content-digest': manifest,
        'content-type': ociManifest,
        warning: expect.stringMatching(/^299 - "docker.io can't be asked; latest was last confirmed there at 20/),
      },
    })
    const got = await ask(b.url, `/v2/app/blobs/${blob}`)
    expect(digestOf(got.body)).toBe(blob)
    expect(await b.metric('layerd_fetched_bytes_total{source="upstream"}')).toBe(0)
    expect(await b.metric('layerd_fetched_bytes_total{source="peer"}')).toBe(layer.length + byTag.body.length)
    expect(await a.metric('layerd_served_bytes_total{to="peer"}')).toBe(layer.length + byTag.body.length)
    expect(await ask(b.url, '/v2/app/manifests/latest', { method: 'HEAD' })).toMatchObject({ status: 200 })
  })

  it('says so when nobody has it, before clients lose patience', async () => {
    const { upstream, b, blob } = await setUp()
    await upstream.close()
    const started = performance.now()
    for (const path of ['app/manifests/latest', `docker.io/app/blobs/${blob}`, 'docker.io/app/tags/list']) {
      const got = await ask(b.url, `/v2/${path}`)
      expect(got.status).toBe(503)
      expect(JSON.parse(got.body.toString()).errors[0].message).toMatch(/docker.io/)
    }
    expect(performance.now() - started).toBeLessThan(25_000)
  })

  it('waits for an upstream that hangs no longer than it has to', async () => {
    const swarm = await closedSwarm()
    const { upstream, a, b, manifest } = await setUp({ swarm, tags: { freshFor: '0ms', patience: '200ms' } })
    await ask(a.url, '/v2/app/manifests/latest')
    await untilAnnounced(a, 1)
    upstream.inject('/v2/', faults.hang())
    for (const node of [a, b]) {
      const started = performance.now()
      const got = await ask(node.url, '/v2/app/manifests/latest')
      expect(got.headers).toMatchObject({ 'docker-content-digest': manifest, warning: expect.stringMatching(/^299/) })
      // Upstream would be waited for for a minute.
      expect(performance.now() - started).toBeLessThan(25_000)
    }
  })

  it('does not prefer an old tag to what upstream says', async () => {
    const { upstream, a, b } = await setUp()
    await ask(a.url, '/v2/app/manifests/latest')
    await untilAnnounced(a, 1)
    const moved = upstream.addManifest({ schemaVersion: 2, mediaType: ociManifest, layers: [] })
    upstream.tag('library/app', 'latest', moved)
    const got = await ask(b.url, '/v2/app/manifests/latest')
    expect(got.headers).toMatchObject({ 'docker-content-digest': moved })
    expect(got.headers.warning).toBeUndefined()
  })

  it('tells what a peer has by HEAD where only members are in the swarm', async () => {
    const { upstream, a, b, blob } = await setUp({ swarm: await closedSwarm() })
    await ask(a.url, `/v2/app/blobs/${blob}`)
    await untilAnnounced(a, 1)
    await upstream.close()
    const head = await ask(b.url, `/v2/library/app/blobs/${blob}`, { method: 'HEAD' })
    expect(head).toMatchObject({ status: 200, headers: { 'content-length': String(layer.length) } })
  })

  it('takes no stranger’s word for what it says by HEAD, unless a manifest says the same', async () => {
    const { upstream, a, b, blob, manifest } = await setUp({}, layer.length)
    await ask(a.url, '/v2/app/manifests/latest')
    await ask(a.url, `/v2/app/blobs/${blob}`)
    await untilAnnounced(a, 2)
    await upstream.close()
    // By its whole name: a bare one could be that of a local image.
    const head = () => ask(b.url, `/v2/library/app/blobs/${blob}`, { method: 'HEAD' })
    expect(await head()).toMatchObject({ status: 503 })
    // A manifest is short: what HEAD says of it is proven.
    const ofManifest = await ask(b.url, `/v2/library/app/manifests/${manifest}`, { method: 'HEAD' })
    expect(ofManifest).toMatchObject({ status: 200, headers: { 'docker-content-digest': manifest } })
    await ask(b.url, `/v2/app/manifests/${manifest}`)
    expect(await head()).toMatchObject({ status: 200, headers: { 'content-length': String(layer.length) } })
  })
})

/** Makes a peer answer, and then give nothing. */
function dieBeforeTheFirstByte(content: MemoryContent): void {
  const { open } = content
  content.open = async (digest) => {
    const shared = await open.call(content, digest)
    const read = async function* () {
      yield* []
      throw new Error('the disk is gone')
    }
    return shared && { ...shared, read }
  }
}

describe('a peer that fails', () => {
  /** A node, and a peer of it that holds what the test says. */
  async function withPeer() {
    const { upstream, node, peers } = await startNodeWithPeers(1)
    const [peer] = peers
    if (peer === undefined) throw new Error('no peer')
    const blob = upstream.addBlob(layer)
    return { upstream, node, peer, blob, path: `/v2/app/blobs/${blob}` }
  }

  it('by wrong bytes is banned, its bytes reach nobody whole, and the blob is had from upstream', async () => {
    const { upstream, node, peer, blob, path } = await withPeer()
    const wrong = Buffer.from(layer)
    wrong[chunkBytes + 5] = (wrong[chunkBytes + 5] ?? 0) ^ 1
    peer.content.blobs.set(blob, wrong)
    peer.swarm.advertise(blob, true)
    await until(() => peer.status().provided === 1)
    const first = await ask(node.url, path)
    expect(first.complete && digestOf(first.body) !== blob).toBe(false)
    await until(async () => (await node.status()).banned.length === 1)
    expect((await node.status()).banned).toMatchObject([
      { peerId: peer.peerId(), reason: expect.stringMatching(/wrong quarter 4/) },
    ])
    const second = await ask(node.url, path)
    expect([second.status, second.complete, digestOf(second.body)]).toEqual([200, true, blob])
    expect(upstream.seen('GET')).toHaveLength(1)
  })

  it('by another size than that of the blob costs one request at most', async () => {
    const { node, peer, blob, path } = await withPeer()
    peer.content.blobs.set(blob, layer.subarray(0, 1000))
    peer.swarm.advertise(blob, true)
    await until(() => peer.status().provided === 1)
    const first = await ask(node.url, path)
    expect([200, 503]).toContain(first.status)
    expect(first.status === 200 && first.complete && digestOf(first.body) !== blob).toBe(false)
    const second = await ask(node.url, path)
    expect([second.status, second.complete, digestOf(second.body)]).toEqual([200, true, blob])
  })

  it('by another size, before it dies without a byte, changes nothing of what the client gets', async () => {
    const { upstream, node, peer, blob, path } = await withPeer()
    peer.content.blobs.set(blob, layer.subarray(0, 1000))
    dieBeforeTheFirstByte(peer.content)
    upstream.inject('GET', faults.chunked())
    peer.swarm.advertise(blob, true)
    await until(() => peer.status().provided === 1)
    for (let time = 0; time < 2; time++) {
      const got = await ask(node.url, path)
      expect(got.status === 200 && got.complete && digestOf(got.body) !== blob).toBe(false)
    }
    expect(digestOf((await ask(node.url, path)).body)).toBe(blob)
  })

  it('by saying that a blob is empty gives nobody an empty blob', async () => {
    const { node, peer, blob, path } = await withPeer()
    peer.content.blobs.set(blob, Buffer.alloc(0))
    peer.swarm.advertise(blob, true)
    await until(() => peer.status().provided === 1)
    const got = await ask(node.url, path)
    expect(got.status === 200 && got.complete && digestOf(got.body) !== blob).toBe(false)
    expect(digestOf((await ask(node.url, path)).body)).toBe(blob)
  })

  it('after saying that private content is public does not make it so', async () => {
    const { upstream, node, peer, blob, path } = await withPeer()
    upstream.requireBasic('me', 'secret')
    peer.content.blobs.set(blob, layer)
    dieBeforeTheFirstByte(peer.content)
    peer.swarm.advertise(blob, true)
    await until(() => peer.status().provided === 1)
    expect(await ask(node.url, path, { headers: basic('me:secret') })).toMatchObject({ status: 200, complete: true })
    await until(async () => (await node.status()).store.blobs === 1)
    await peer.stop()
    expect(await ask(node.url, path)).toMatchObject({ status: 401 })
  })

  it('by a manifest that is too large is passed over', async () => {
    const { upstream, node, peer } = await withPeer()
    const manifest = upstream.addManifest({ schemaVersion: 2, layers: [] })
    peer.content.blobs.set(manifest, Buffer.alloc(17_000_000))
    peer.swarm.advertise(manifest, true)
    await until(() => peer.status().provided === 1)
    const got = await ask(node.url, `/v2/app/manifests/${manifest}`)
    expect([got.status, digestOf(got.body)]).toEqual([200, manifest])
  })

  it('by dying in the middle of a blob costs nothing that had come already', async () => {
    const { upstream, node, peer, path } = await withPeer()
    const { promise: gate, resolve: openGate } = Promise.withResolvers<void>()
    onTestFinished(() => openGate())
    const blob = peer.content.add(layer)
    const read = peer.content.open.bind(peer.content)
    peer.content.open = async (digest) => {
      const shared = await read(digest)
      return (
        shared && {
          ...shared,
          async *read(start: number, end: number, signal: AbortSignal) {
            let at = start
            for await (const chunk of shared.read(start, end, signal)) {
              // The first two chunks, in however many requests.
              if (at >= 2 * chunkBytes) await gate
              at += chunk.length
              yield chunk
            }
          },
        }
      )
    }
    peer.swarm.advertise(blob, true)
    await until(() => peer.status().provided === 1)
    const running = ask(node.url, path)
    // What a client was given is held.
    await until(async () => (await node.metric('layerd_served_bytes_total{to="client"}')) >= chunkBytes)
    await peer.stop()
    const got = await running
    expect([got.status, got.complete, digestOf(got.body)]).toEqual([200, true, blob])
    const [rest] = upstream.seen('GET')
    expect(rest?.headers.range).toMatch(/^bytes=[1-9]/)
    const fromUpstream = await node.metric('layerd_fetched_bytes_total{source="upstream"}')
    // What had come already: at least one whole chunk.
    expect(fromUpstream).toBeLessThanOrEqual(layer.length - chunkBytes)
  })

  it('by not having what it announced is passed over', async () => {
    const { node, peer, blob, path } = await withPeer()
    peer.swarm.advertise(blob, true)
    await until(() => peer.status().provided === 1)
    expect(await ask(node.url, path)).toMatchObject({ status: 200, complete: true })
  })
})

describe('private content', () => {
  async function privateUpstream(config: TestNodeOptions['config'] = {}) {
    const parts = await setUp(config)
    parts.upstream.requireBasic('me', 'secret')
    const path = `/v2/docker.io/app/blobs/${parts.blob}`
    const pull = (node: TestNode, headers = {}) => ask(node.url, path, { headers })
    return { ...parts, pull }
  }

  it('is had with the client’s own credentials, and from the cache by nobody else', async () => {
    const { upstream, a, pull } = await privateUpstream()
    const refused = await pull(a)
    expect(refused).toMatchObject({ status: 401, headers: { 'www-authenticate': expect.stringMatching(/^Basic/) } })
    expect(await pull(a, basic('me:secret'))).toMatchObject({ status: 200, complete: true })
    await until(async () => (await a.status()).store.blobs === 1)
    expect(await pull(a)).toMatchObject({ status: 401 })
    expect(await pull(a, basic('me:wrong'))).toMatchObject({ status: 401 })
    const requests = upstream.seen('GET').length
    expect(await pull(a, basic('me:secret'))).toMatchObject({ status: 200, complete: true })
    expect(upstream.seen('GET')).toHaveLength(requests)
  })

  it('is had again from the cache by who had it before, while upstream can not be asked', async () => {
    const { upstream, a, pull } = await privateUpstream({ access: { freshFor: '1ms' } })
    await pull(a, basic('me:secret'))
    await until(async () => (await a.status()).store.blobs === 1)
    await upstream.close()
    expect(await pull(a, basic('me:secret'))).toMatchObject({ status: 200, complete: true })
    expect(await pull(a, basic('me:wrong'))).toMatchObject({ status: 503 })
  })

  it('stays with its repository, online and offline: who may read another one gets nothing of it', async () => {
    const { upstream, a, blob, pull } = await privateUpstream({ access: { freshFor: '1ms' } })
    await pull(a, basic('me:secret'))
    const other = upstream.addBlob(Buffer.from('a layer of another repository'))
    const headers = basic('me:secret')
    expect(await ask(a.url, `/v2/bob/x/blobs/${other}`, { headers })).toMatchObject({ status: 200 })
    await until(async () => (await a.status()).store.blobs === 2)
    await upstream.close()
    expect(await pull(a, headers)).toMatchObject({ status: 200 })
    expect(await ask(a.url, `/v2/bob/x/blobs/${blob}`, { headers })).toMatchObject({ status: 503 })
  })

  it('is not what a login was not needed for: that is shared as what it is', async () => {
    const { upstream, a, b, blob, pull } = await setUp().then((parts) => ({
      ...parts,
      pull: (node: TestNode, headers = {}) => ask(node.url, `/v2/app/blobs/${parts.blob}`, { headers }),
    }))
    upstream.requireBearer({ accounts: { me: 'secret' }, anonymous: true })
    expect(await pull(a, basic('me:secret'))).toMatchObject({ status: 200 })
    await untilAnnounced(a, 1)
    await upstream.close()
    expect(digestOf((await pull(b)).body)).toBe(blob)
  })

  it('does not leave a node of an open swarm', async () => {
    const { upstream, a, b, pull } = await privateUpstream()
    await pull(a, basic('me:secret'))
    await until(async () => (await a.status()).store.blobs === 1)
    await upstream.close()
    expect(await pull(b, basic('me:secret'))).toMatchObject({ status: 503 })
    expect((await a.status()).provided).toBe(0)
  })

  it('moves within a closed swarm, to those whom upstream lets have it', async () => {
    const { upstream, a, b, pull } = await privateUpstream({ swarm: await closedSwarm() })
    await pull(a, basic('me:secret'))
    await untilAnnounced(a, 1)
    expect(await pull(b)).toMatchObject({ status: 401 })
    upstream.inject('GET /v2/library/app/blobs', faults.status(500))
    expect(await pull(b, basic('me:secret'))).toMatchObject({ status: 200, complete: true })
    expect(await b.metric('layerd_fetched_bytes_total{source="peer"}')).toBe(layer.length)
  })
})
