import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import { NUMBERS } from '../../daemon/share/plan/numbers.ts'
import { chunkBytes } from '../../daemon/verify/quarter.ts'
import { digestOf, hexOf } from '../../proxy/oci/digest.ts'
import { pseudoRandomBytes } from '../fixtures/bytes.ts'
import { ask } from '../fixtures/client.ts'
import { FakeUpstream } from '../fixtures/fake-upstream.ts'
import {
  type Fault,
  makesUpBeginning,
  peersWith,
  sendsSlowly,
  sendsWrongChunks,
  stalls,
  tellsFalseCheckpoints,
} from '../fixtures/faulty-peers.ts'
import { startTestNode, type TestNode, until, untilConnected } from '../fixtures/node.ts'
import { watchUploads } from '../fixtures/uploads.ts'

const layer = pseudoRandomBytes(24 * chunkBytes + 1, 'liars')
const blob = digestOf(layer)
const path = `/v2/app/blobs/${blob}`
const wasted = (reason: string) => `layerd_wasted_bytes_total{reason="${reason}"}`

/** Nodes that know each other. Peers are looked for long enough on a machine that is busy. */
async function honestNodes(count: number, hasUpstreamBlob: boolean): Promise<TestNode[]> {
  const upstream = await FakeUpstream.start()
  onTestFinished(() => upstream.close())
  if (hasUpstreamBlob) upstream.addBlob(layer)
  const options = { registries: { 'docker.io': upstream.url }, config: { swarm: { lookupTimeout: '10s' } } }
  const nodes: TestNode[] = []
  while (nodes.length < count) nodes.push(await startTestNode({ ...options, seeds: nodes.slice(0, 1) }))
  await untilConnected(...nodes)
  return nodes
}

async function pull(node: TestNode): Promise<void> {
  const got = await ask(node.url, path)
  expect([got.status, got.complete, digestOf(got.body)]).toEqual([200, true, blob])
}

/** Whom a node has banned, by all that it tells of it. */
async function bannedBy(node: TestNode): Promise<Map<string, string>> {
  const { banned } = await node.status()
  expect(await node.metric('layerd_banned_peers')).toBe(banned.length)
  for (const { peerId, reason } of banned) {
    expect(await node.metric(`layerd_banned_peer_info{peer="${peerId}"}`)).toBe(1)
    expect(node.log).toContainEqual(
      expect.objectContaining({ msg: 'a peer is left alone for a time', peer: peerId, reason }),
    )
  }
  return new Map(banned.map(({ peerId, reason }) => [peerId, reason]))
}

describe('a swarm with liars', () => {
  /** A node, three honest peers that take a second together, and one of another kind; upstream does not have the blob. */
  async function withLiar(fault: Fault) {
    const [node] = await honestNodes(1, false)
    if (node === undefined) throw new Error('no node')
    const [liar] = await peersWith([node], layer, [
      fault,
      ...Array.from({ length: 3 }, () => sendsSlowly(8 * chunkBytes)),
    ])
    return { node, liar: liar?.peerId() ?? '' }
  }

  it.each([
    ['sends wrong chunks', sendsWrongChunks, /wrong quarter \d+/],
    ['tells false checkpoints', tellsFalseCheckpoints, /false checkpoints|wrong quarter \d+/],
    [
      'tells false checkpoints, and sends chunks that fit them',
      makesUpBeginning,
      /false checkpoints|wrong quarter \d+/,
    ],
  ])('gets every byte right though one %s, and bans it at the cost of two chunks', async (_, fault, reason) => {
    const { node, liar } = await withLiar(fault)
    await pull(node)
    await until(async () => (await node.status()).banned.length > 0)
    expect(await bannedBy(node)).toEqual(new Map([[liar, expect.stringMatching(reason)]]))
    const waste = (await node.metric(wasted('wrong'))) + (await node.metric(wasted('dropped')))
    expect(waste).toBeLessThanOrEqual(2 * chunkBytes)
    expect(await node.metric('layerd_fetched_bytes_total{source="upstream"}')).toBe(0)
  })

  it('goes round one that stalls', async () => {
    const { node } = await withLiar(stalls)
    await pull(node)
  })
})

describe('eight nodes, of which one sends wrong chunks, one tells false checkpoints and one stalls', () => {
  it('get and pass on nothing but right bytes, and name the two that lie', async () => {
    const nodes = await honestNodes(5, true)
    const [seed, ...pulling] = nodes
    if (seed === undefined) throw new Error('no nodes')
    await pull(seed)
    const peers = await peersWith(nodes, layer, [sendsWrongChunks, makesUpBeginning, stalls])
    const [wrong, liar, staller] = peers
    const uploads = watchUploads(layer, peers)
    const since = performance.now()
    await Promise.all(pulling.map(pull))
    const passed = performance.now() - since

    for (const node of nodes) {
      const file = await readFile(join(node.dataDir, 'blobs', 'sha256', hexOf(blob)))
      expect(file.equals(layer)).toBe(true)
    }
    expect(uploads.wrong).toBe(0)
    expect(uploads.right).toBeGreaterThanOrEqual(layer.length)
    expect((await bannedBy(seed)).size).toBe(0)
    let caught = 0
    for (const node of pulling) {
      const banned = await bannedBy(node)
      // Where it was asked for the chunk that shows who lies, it is the one that does not fit what it made up.
      expect(banned.get(liar?.peerId() ?? '')).toMatch(/false checkpoints|wrong quarter 6 /)
      // Once the other one is found out, a node may have all from others before it asks it for anything.
      const others = [...banned].filter(([peer]) => peer !== liar?.peerId())
      for (const [peer, reason] of others)
        expect([peer, reason]).toEqual([wrong?.peerId(), expect.stringMatching(/wrong quarter \d+/)])
      caught += others.length
      const waste = (await node.metric(wasted('wrong'))) + (await node.metric(wasted('dropped')))
      expect(waste).toBeLessThanOrEqual(2 * 2 * chunkBytes)
      expect(await node.metric(wasted('duplicate'))).toBeLessThanOrEqual(2 * chunkBytes)
    }
    expect(caught).toBeGreaterThan(0)
    // Each node asks it once, again after a rest that is twice as long each time, and where it looks for who lies.
    const rounds = 2 + Math.floor(Math.log2(1 + passed / NUMBERS.lateMs))
    expect(staller?.content.reads).toBeLessThanOrEqual((rounds + 1) * pulling.length)
  })
})
