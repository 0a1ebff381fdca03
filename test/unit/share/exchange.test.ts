import { describe, expect, it } from 'vitest'
import { quarterBytes } from '../../../daemon/verify/quarter.ts'
import { digestOf } from '../../../proxy/oci/digest.ts'
import { UpstreamError } from '../../../proxy/upstream/types.ts'
import { collect, pseudoRandomBytes } from '../../fixtures/bytes.ts'
import { type FakeNode, fakeNode, type OpenUpstream, requestOf, upstreamWith } from '../../fixtures/downloads.ts'
import { MemorySwarm } from '../../fixtures/memory-swarm.ts'
import { until } from '../../fixtures/swarm.ts'

/** Twelve chunks and a bit. */
const bytes = pseudoRandomBytes(49 * quarterBytes + 5, 'exchange')
const digest = digestOf(bytes)
const down: OpenUpstream = async () => {
  throw new UpstreamError('unreachable', 'it is down')
}

/** Nodes that are all connected with each other, and bytes that all of them have asked of upstream. */
async function fleet(count: number, upstream: OpenUpstream = upstreamWith(bytes)) {
  const swarm = new MemorySwarm()
  const nodes: FakeNode[] = []
  for (let node = 0; node < count; node++) nodes.push(await fakeNode({ swarm, upstream }))
  const fromUpstream = () => nodes.reduce((sum, { fetched }) => sum + fetched.upstream, 0)
  return { swarm, nodes, fromUpstream }
}

const fetchAll = async (nodes: readonly FakeNode[]) => {
  await Promise.all(nodes.map((node) => node.download(digest).run()))
  expect(nodes.map(({ store }) => store.has(digest))).toEqual(nodes.map(() => true))
}

/** Gives a chunk each so many ms. */
const slowUpstream =
  (ms: number): OpenUpstream =>
  async (request) => {
    const opened = await upstreamWith(bytes)(request)
    const { body } = opened
    const slow = async function* () {
      for await (const piece of body) {
        await new Promise((resolve) => setTimeout(resolve, ms / 16))
        yield piece
      }
    }
    return { ...opened, body: slow() }
  }

describe('nodes that fetch the same blob', () => {
  it.each([2, 5])('%i of them read it once from upstream, and have all else from each other', async (count) => {
    const { swarm, nodes, fromUpstream } = await fleet(count, slowUpstream(20))
    await fetchAll(nodes)
    // Two may have begun in the same moment.
    expect(fromUpstream()).toBeLessThan(bytes.length * 1.3)
    const fromPeers = nodes.reduce((sum, { moved }) => sum + moved.in, 0)
    expect(fromPeers).toBeGreaterThan((count - 1.3) * bytes.length)
    expect(swarm.ends).toEqual([])
  })

  it('that begin later have it from those who have it, without upstream', async () => {
    const { nodes } = await fleet(3)
    const [first, ...others] = nodes
    if (first === undefined) throw new Error('there are nodes')
    await fetchAll([first])
    first.swarm.recorded = () => [first.self]
    await fetchAll(others)
    expect(others.map(({ fetched }) => fetched.upstream)).toEqual([0, 0])
  })

  it('go on when the one that reads for all is killed in the middle', async () => {
    const { swarm, nodes } = await fleet(3, slowUpstream(60))
    const runs = nodes.map((node) => node.download(digest).run())
    let head: FakeNode | undefined
    await until(() => {
      head = nodes.find(({ fetched }) => fetched.upstream > 5 * 4 * quarterBytes)
      return head !== undefined && nodes.every((node) => node === head || node.moved.in > 9 * quarterBytes)
    })
    if (head === undefined) throw new Error('nobody reads')
    swarm.kill(head.self)
    const others = nodes.filter((node) => node !== head)
    await Promise.all(runs.filter((_, at) => nodes[at] !== head))
    expect(others.map(({ store }) => store.has(digest))).toEqual([true, true])
    // What was there before is not read again, by whoever goes on.
    const most = bytes.length - 8 * quarterBytes
    expect(Math.max(...others.map(({ fetched }) => fetched.upstream))).toBeLessThanOrEqual(most)
  })

  it('go on when a link is cut, and when a peer falls silent', async () => {
    const { swarm, nodes } = await fleet(4, slowUpstream(40))
    const [a, b, c, d] = nodes
    if (a === undefined || b === undefined || c === undefined || d === undefined) throw new Error('there are nodes')
    // The coordinator is not the silent one.
    swarm.coordinators = () => [a.self]
    const runs = [a, b, c].map((node) => node.download(digest).run())
    void d.download(digest).run()
    await until(() => b.moved.in > 2 * quarterBytes)
    d.member.isSilent = true
    swarm.cut(a.self, b.self)
    swarm.cut(b.self, c.self)
    await Promise.all(runs)
    expect([a, b, c].map(({ store }) => store.has(digest))).toEqual([true, true, true])
  })

  it('of which one sends slowly wait for nobody', async () => {
    const { nodes, fromUpstream } = await fleet(3, slowUpstream(20))
    const [slow] = nodes
    if (slow === undefined) throw new Error('there are nodes')
    slow.member.bytesPerSecond = 200_000
    const since = performance.now()
    await fetchAll(nodes)
    expect(performance.now() - since).toBeLessThan(50_000)
    expect(fromUpstream()).toBeLessThan(3 * bytes.length)
  })
})

describe('a client of a node', () => {
  it('reads a range in the middle of a cold blob before the rest is there, on whatever node', async () => {
    const { nodes } = await fleet(2, slowUpstream(100))
    const readings = nodes.map(async (node) => {
      const download = node.download(digest)
      const running = download.run()
      const content = await download.open(requestOf(digest))
      const start = 30 * quarterBytes + 7
      const got = await collect(content.read(start, start + quarterBytes, new AbortController().signal))
      const isEarly = !node.store.has(digest)
      await content.close()
      download.abort(new Error('enough'))
      await running
      return [got.equals(bytes.subarray(start, start + quarterBytes + 1)), isEarly]
    })
    expect(await Promise.all(readings)).toEqual([
      [true, true],
      [true, true],
    ])
  })

  it('gets what only peers have, where upstream is down', async () => {
    const { nodes, swarm } = await fleet(1)
    await fetchAll(nodes)
    const [holder] = nodes
    if (holder === undefined) throw new Error('there is a node')
    swarm.recorded = () => [holder.self]
    const lone = await fakeNode({ swarm, upstream: down })
    await fetchAll([lone])
    expect(lone.moved.in).toBeGreaterThanOrEqual(bytes.length)
  })
})
