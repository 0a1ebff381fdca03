import { describe, expect, it, onTestFinished } from 'vitest'
import { chunkBytes } from '../../daemon/verify/quarter.ts'
import { digestOf } from '../../proxy/oci/digest.ts'
import { pseudoRandomBytes } from '../fixtures/bytes.ts'
import { ask } from '../fixtures/client.ts'
import { FakeUpstream, faults } from '../fixtures/fake-upstream.ts'
import { holdsBackAllBut, peersWith } from '../fixtures/faulty-peers.ts'
import { startTestNode, type TestNode, type TestNodeOptions, until, untilConnected } from '../fixtures/node.ts'

const layer = pseudoRandomBytes(12 * chunkBytes + 1, 'fleet')
const upstreamBytes = 'layerd_fetched_bytes_total{source="upstream"}'
const peerBytes = 'layerd_fetched_bytes_total{source="peer"}'

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
  while (nodes.length < count)
    nodes.push(await startTestNode({ registries, seeds: nodes.slice(0, 1), isClosed: true, config }))
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
    // On a busy machine nodes may race for some chunks. If each read for itself, this would be six times the blob.
    expect(await sum(nodes, upstreamBytes)).toBeLessThan(2 * layer.length)
    expect(await sum(nodes, peerBytes)).toBeGreaterThan(4 * layer.length)
  })

  it('gives clients of every node bytes while the blob still arrives', async () => {
    const { upstream, nodes, path } = await fleet(3, 20)
    // Its last chunk never comes, whoever asks for it.
    upstream.inject('GET', (answer, { headers }) => {
      const start = Number(/\d+/.exec(headers.range ?? '')?.[0] ?? 0)
      answer.hangAfter = Math.max(0, layer.length - chunkBytes - start)
    })
    const early = await Promise.all(nodes.map((node) => ask(node.url, path, { hangUpAfter: chunkBytes })))
    for (const got of early) expect(layer.subarray(0, got.body.length).equals(got.body)).toBe(true)
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
    const before = (await dead?.metric(upstreamBytes)) ?? 0
    await dead?.stop()
    for (const [index, pull] of pulls.entries()) {
      if (nodes[index] === dead) continue
      const got = await pull
      expect([got?.status, got?.complete, got && digestOf(got.body)]).toEqual([200, true, blob])
    }
    const alive = nodes.filter((node) => node !== dead)
    expect(before + (await sum(alive, upstreamBytes))).toBeLessThan(1.3 * layer.length)
    const got = upstream.seen(blob).filter(({ method }) => method === 'GET')
    for (const { headers } of got.slice(1)) expect(headers.range).toMatch(/^bytes=[1-9]/)
  })
})

describe('a part of a cold blob', () => {
  it('comes from a peer before the rest of the blob', async () => {
    const upstream = await startUpstream()
    const registries = { 'docker.io': upstream.url }
    const node = await startTestNode({ registries, config: { swarm: { lookupTimeout: '2s' } } })
    await peersWith([node], layer, [holdsBackAllBut(9)])
    const blob = digestOf(layer)
    // The manifest tells the size, on which no stranger's word would be enough.
    const manifest = upstream.addManifest({ schemaVersion: 2, layers: [{ digest: blob, size: layer.length }] })
    expect((await ask(node.url, `/v2/app/manifests/${manifest}`)).status).toBe(200)
    const range = { start: 9 * chunkBytes + 5, end: 9 * chunkBytes + 500_000 }
    const got = await ask(node.url, `/v2/app/blobs/${blob}`, {
      headers: { range: `bytes=${range.start}-${range.end}` },
    })
    expect([got.status, got.complete]).toEqual([206, true])
    expect(layer.subarray(range.start, range.end + 1).equals(got.body)).toBe(true)
  })
})
