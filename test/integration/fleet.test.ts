import { describe, expect, it, onTestFinished } from 'vitest'
import { quarterBytes as chunkBytes } from '../../daemon/verify/quarter.ts'
import { stateBytes } from '../../daemon/verify/state.ts'
import { digestOf } from '../../proxy/oci/digest.ts'
import { pseudoRandomBytes } from '../fixtures/bytes.ts'
import { ask } from '../fixtures/client.ts'
import { FakeUpstream, faults } from '../fixtures/fake-upstream.ts'
import { startTestNode, type TestNode, type TestNodeOptions, until, untilConnected } from '../fixtures/node.ts'
import { announce, startNodeWithPeers } from '../fixtures/peers.ts'
import { checkpointsOf, type MemoryContent, TestSwarm } from '../fixtures/swarm.ts'

const layer = pseudoRandomBytes(12 * chunkBytes + 1, 'fleet')
const upstreamBytes = 'layerd_fetched_bytes_total{source="upstream"}'
const peerBytes = 'layerd_fetched_bytes_total{source="peer"}'
const wrongBytes = 'layerd_wasted_bytes_total{reason="wrong"}'

async function startUpstream(): Promise<FakeUpstream> {
  const upstream = await FakeUpstream.start()
  onTestFinished(() => upstream.close())
  return upstream
}

/** Nodes that know each other, and an upstream that sends so many chunks a second. */
async function fleet(count: number, chunksPerSecond: number, config: TestNodeOptions['config'] = {}) {
  const upstream = await startUpstream()
  upstream.inject('GET', faults.slow(chunksPerSecond * chunkBytes))
  const registries = { 'docker.io': upstream.url }
  const nodes: TestNode[] = []
  while (nodes.length < count) nodes.push(await startTestNode({ registries, seeds: nodes.slice(0, 1), config }))
  await untilConnected(...nodes)
  const blob = upstream.addBlob(layer)
  return { upstream, nodes, blob, path: `/v2/app/blobs/${blob}` }
}

async function sum(nodes: readonly TestNode[], metric: string): Promise<number> {
  const values = await Promise.all(nodes.map((node) => node.metric(metric)))
  return values.reduce((total, value) => total + value, 0)
}

describe('a fleet that asks for a blob in one moment', () => {
  it('fetches it from upstream once', async () => {
    const { nodes, blob, path } = await fleet(6, 20)
    const all = await Promise.all(nodes.map((node) => ask(node.url, path)))
    for (const got of all) expect([got.status, got.complete, digestOf(got.body)]).toEqual([200, true, blob])
    expect(await sum(nodes, upstreamBytes)).toBe(layer.length)
    expect(await sum(nodes, peerBytes)).toBeGreaterThanOrEqual(5 * layer.length)
  })

  it('gives clients of every node bytes while the blob still arrives', async () => {
    const { nodes, path } = await fleet(3, 4)
    const started = performance.now()
    const early = await Promise.all(nodes.map((node) => ask(node.url, path, { hangUpAfter: chunkBytes })))
    for (const got of early) expect(layer.subarray(0, got.body.length).equals(got.body)).toBe(true)
    // The whole takes three seconds.
    expect(performance.now() - started).toBeLessThan(2000)
  })

  it('asks upstream once for a manifest, too', async () => {
    const { upstream, nodes } = await fleet(4, 20)
    const manifest = upstream.addManifest({ schemaVersion: 2, layers: [], annotations: { for: 'the fleet' } })
    const path = `/v2/app/manifests/${manifest}`
    for (const got of await Promise.all(nodes.map((node) => ask(node.url, path)))) {
      expect([got.status, digestOf(got.body)]).toEqual([200, manifest])
    }
    expect(upstream.seen(manifest).filter(({ method }) => method === 'GET')).toHaveLength(1)
  })

  it.each([
    ['once, where peers are trusted', 'always', 1],
    ['from each node, where they are not', 'never', 4],
  ] as const)('asks upstream what a tag is %s', async (_, trustPeers, requests) => {
    const { upstream, nodes } = await fleet(4, 20, { tags: { trustPeers } })
    const manifest = upstream.addManifest({ schemaVersion: 2, layers: [], annotations: { for: 'the tag' } })
    upstream.tag('library/app', 'latest', manifest)
    const all = await Promise.all(nodes.map((node) => ask(node.url, '/v2/app/manifests/latest', { method: 'HEAD' })))
    for (const got of all) expect(got).toMatchObject({ status: 200, headers: { 'docker-content-digest': manifest } })
    expect(upstream.seen('manifests/latest')).toHaveLength(requests)
  })

  it('goes on where the node that fetched it from upstream was when it stopped', async () => {
    const { upstream, nodes, blob, path } = await fleet(4, 8, { registry: { shutdownTimeout: '10ms' } })
    const pulls = nodes.map((node) => ask(node.url, path).catch(() => undefined))
    const holder = async () => {
      for (const node of nodes) if ((await node.metric(upstreamBytes)) > 4 * chunkBytes) return node
      return undefined
    }
    await until(async () => (await holder()) !== undefined)
    const dead = await holder()
    await dead?.stop()
    for (const [index, pull] of pulls.entries()) {
      if (nodes[index] === dead) continue
      const got = await pull
      expect([got?.status, got?.complete, got && digestOf(got.body)]).toEqual([200, true, blob])
    }
    expect(upstream.seen(blob)).toHaveLength(2)
    expect(upstream.seen(blob)[1]?.headers.range).toMatch(/^bytes=[1-9]/)
  })
})

describe('a part of a cold blob', () => {
  it('comes from a peer before the rest of the blob', async () => {
    const upstream = await startUpstream()
    const registries = { 'docker.io': upstream.url }
    const node = await startTestNode({ registries, config: { swarm: { lookupTimeout: '2s' } } })
    const swarm = new TestSwarm()
    onTestFinished(() => swarm.close())
    const peer = await swarm.node({ config: { seeds: (await node.status()).multiaddrs } })
    await until(async () => (await node.status()).peers.some(({ transfer }) => transfer))
    const blob = peer.content.add(layer)
    holdBackAllBut(peer.content, 9)
    peer.swarm.advertise(blob, true)
    await until(() => peer.status().provided === 1)
    const range = { start: 9 * chunkBytes + 5, end: 9 * chunkBytes + 200_000 }
    const got = await ask(node.url, `/v2/app/blobs/${blob}`, {
      headers: { range: `bytes=${range.start}-${range.end}` },
    })
    expect([got.status, got.complete]).toEqual([206, true])
    expect(layer.subarray(range.start, range.end + 1).equals(got.body)).toBe(true)
  })
})

/** A peer that gives one chunk, and lets everybody wait for all others. */
function holdBackAllBut(content: MemoryContent, chunk: number): void {
  const { open } = content
  content.open = async (digest) => {
    const shared = await open.call(content, digest)
    if (shared === undefined) return undefined
    const read = async function* (start: number, end: number, signal: AbortSignal) {
      if (start !== chunk * chunkBytes) await new Promise((_, reject) => signal.addEventListener('abort', reject))
      yield* shared.read(start, end, signal)
    }
    return { ...shared, read }
  }
}

describe('a swarm with liars', () => {
  /** A node, three honest peers, and one of another kind; all say that they have the blob. */
  async function withLiar(lie: (content: MemoryContent, blob: ReturnType<typeof digestOf>) => Promise<void> | void) {
    const { node, peers } = await startNodeWithPeers(4)
    const blob = digestOf(layer)
    for (const peer of peers) {
      peer.content.blobs.set(blob, layer)
      peer.content.lists.set(blob, await checkpointsOf(layer))
    }
    const [liar, ...honest] = peers
    if (liar === undefined) throw new Error('no peers')
    await lie(liar.content, blob)
    await announce(blob, peers)
    const pull = () => ask(node.url, `/v2/app/blobs/${blob}`)
    return { node, liar, honest, blob, pull }
  }

  it('gets every byte right though one sends wrong chunks, and bans it at the cost of two chunks', async () => {
    const { node, liar, blob, pull } = await withLiar((content, digest) => {
      content.blobs.set(digest, pseudoRandomBytes(layer.length, 'wrong'))
    })
    const got = await pull()
    expect([got.status, got.complete, digestOf(got.body)]).toEqual([200, true, blob])
    const { banned } = await node.status()
    expect(banned).toMatchObject([
      { peerId: liar.peerId(), reason: expect.stringMatching(/wrong quarter \d+ of sha256/) },
    ])
    expect(await node.metric(wrongBytes)).toBeLessThanOrEqual(2 * chunkBytes)
    expect(await node.metric(upstreamBytes)).toBe(0)
  })

  it('finds out who told false checkpoints', async () => {
    const { node, liar, blob, pull } = await withLiar((content, digest) => {
      const list = Uint8Array.from(content.lists.get(digest) ?? [])
      for (let at = 4 * stateBytes; at < 7 * stateBytes; at++) list[at] = (list[at] ?? 0) ^ 0xff
      content.lists.set(digest, list)
    })
    const got = await pull()
    expect([got.status, got.complete, digestOf(got.body)]).toEqual([200, true, blob])
    await until(async () => (await node.status()).banned.length > 0)
    const { banned } = await node.status()
    expect(banned).toMatchObject([{ peerId: liar.peerId(), reason: expect.stringMatching(/false checkpoints/) }])
    expect(await node.metric(wrongBytes)).toBeLessThanOrEqual(2 * chunkBytes)
  })

  it('goes round one that stalls', async () => {
    const { blob, pull } = await withLiar((content) => holdBackAllBut(content, -1))
    const started = performance.now()
    const got = await pull()
    expect([got.status, got.complete, digestOf(got.body)]).toEqual([200, true, blob])
    expect(performance.now() - started).toBeLessThan(5000)
  })
})
