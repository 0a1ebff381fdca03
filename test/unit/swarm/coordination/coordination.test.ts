import { EventEmitter } from 'node:events'
import { generateKeyPair } from '@libp2p/crypto/keys'
import type { Connection, Stream } from '@libp2p/interface'
import { peerIdFromPrivateKey } from '@libp2p/peer-id'
import { expect, test } from 'vitest'
import { COORDINATORS } from '../../../../daemon/swarm/coordination/constants.ts'
import { PeerCoordination } from '../../../../daemon/swarm/coordination/coordination.ts'
import { nearestPeers } from '../../../../daemon/swarm/find/nearest.ts'
import { hashOf, multihashOf } from '../../../../daemon/swarm/router/cid.ts'
import { digestOf } from '../../../../proxy/oci/digest.ts'

const ids = await Promise.all(
  Array.from({ length: 40 }, async () => peerIdFromPrivateKey(await generateKeyPair('Ed25519')).toString()),
)
const [self, ...others] = ids as [string, ...string[]]
const digests = Array.from({ length: 50 }, (_, index) => digestOf(Buffer.from(`blob ${index}`)))

interface Setting {
  readonly connected: readonly string[]
  /** Peers that a lookup names, each time it is made; none where it is left out, as in a small swarm. */
  readonly named?: readonly (readonly string[])[]
  /** What this node has recorded, and what others have; one without an answer does not answer. */
  readonly recorded?: readonly string[]
  readonly others?: Readonly<Record<string, readonly string[]>>
  /** Peers that are not reached by way of others. */
  readonly gone?: readonly string[]
}

function coordination({ connected, named, recorded, others: answers = {}, gone = [] }: Setting) {
  const looked: string[] = []
  let asked = 0
  const opened: string[] = []
  const sent: Uint8Array[] = []
  const routed: { peer: string; message: object }[] = []
  const lost: string[] = []
  const stream = (peer: string) => {
    opened.push(peer)
    const events = new EventEmitter()
    return {
      status: 'open',
      writeStatus: 'writable',
      addEventListener: events.on.bind(events),
      send: (bytes: Uint8Array) => sent.push(bytes) > 0,
      close: async () => {},
      abort: () => {},
    } as unknown as Stream
  }
  const one = new PeerCoordination({
    self,
    listener: { claim: () => {} },
    records: { local: async () => recorded ?? [self, others[0] ?? '', others[1] ?? ''] },
    find: {
      ask: async (peer) => {
        looked.push(peer)
        return answers[peer] ?? (await new Promise(() => {}))
      },
    },
    routing: {
      isLarge: named !== undefined,
      isConnected: (peer) => connected.includes(peer),
      closest: {
        near: async () => named?.[Math.min(asked++, named.length - 1)] ?? [],
        lost: (peer) => void lost.push(peer),
      },
      router: {
        tell: async (peer, message) => {
          if (gone.includes(peer)) throw new Error('unreachable')
          routed.push({ peer, message })
        },
      },
    },
    admits: (peer) => peer !== others[1],
    openStream: async (peer) => stream(peer),
  })
  for (const peer of connected) one.joined(peer)
  return { one, opened, sent, stream, looked, routed, lost, asked: () => asked }
}

const nearest = (peers: readonly string[], index: number) =>
  nearestPeers(peers, multihashOf(hashOf(digests[index] ?? digestOf(Buffer.alloc(0)))), COORDINATORS)

test('coordinators are the nearest of those who are connected, nearest first, and follow who comes and goes', async () => {
  const { one, asked } = coordination({ connected: others })
  for (const [index, digest] of digests.entries()) expect(await one.coordinators(digest)).toEqual(nearest(ids, index))
  const gone = new Set(others.slice(0, 20))
  for (const peer of gone) one.left(peer)
  const left = ids.filter((peer) => !gone.has(peer))
  for (const [index, digest] of digests.entries()) expect(await one.coordinators(digest)).toEqual(nearest(left, index))
  expect(asked()).toBe(0)
})

test('a node that is alone coordinates all', async () => {
  const { one } = coordination({ connected: [] })
  expect(await one.coordinators(digests[0] ?? digestOf(Buffer.alloc(0)))).toEqual([self])
})

test('in a large swarm they may be peers that are not connected; they are looked up again only where nobody was named', async () => {
  const { one, asked } = coordination({ connected: others.slice(0, 20), named: [[], others.slice(20)] })
  const [digest = digestOf(Buffer.alloc(0))] = digests
  expect(await one.coordinators(digest)).toEqual(nearest([self, ...others.slice(0, 20)], 0))
  const [first = '', second = '', third = ''] = nearest(ids, 0)
  const connected = nearest([self, ...others.slice(0, 20)], 0)
  const isNear = [first, second, third].some((peer) => connected.includes(peer))
  // Names may be made up: one of those who are asked is connected.
  const last = isNear ? third : connected[0]
  for (let round = 0; round < 3; round++) expect(await one.coordinators(digest)).toEqual([first, second, last])
  expect(asked()).toBe(2)
})

test('one of them is connected, however near those are that a node on the way has named', async () => {
  const connected = others.slice(0, 4)
  for (const [index, digest] of digests.entries()) {
    const { one } = coordination({ connected, named: [nearest(others.slice(4), index)] })
    const [best] = nearest([self, ...connected], index)
    const found = await one.coordinators(digest)
    expect(found).toHaveLength(COORDINATORS)
    expect(found).toContain(best)
  }
})

test('a coordinator that is not connected is told by way of others, and looked up anew where it is not reached', async () => {
  const [digest = digestOf(Buffer.alloc(0))] = digests
  const far = others.slice(20)
  const [nearest0 = ''] = nearest(far, 0)
  const { one, routed, lost, sent, asked } = coordination({ connected: [], named: [far], gone: [nearest0] })
  const [first = '', second = ''] = (await one.coordinators(digest)).filter((peer) => peer !== self)
  expect(first).toBe(nearest0)
  await one.tell(second, { n: 1 })
  expect([routed, sent]).toEqual([[{ peer: second, message: { n: 1 } }], []])
  await one.coordinators(digest)
  expect(asked()).toBe(1)
  await expect(one.tell(first, { n: 2 })).rejects.toThrow('unreachable')
  expect(lost).toEqual([first])
  await one.coordinators(digest)
  expect(asked()).toBe(2)
})

test('whoever has announced a blob is named, this node too, without those who are banned', async () => {
  const { one } = coordination({ connected: [] })
  expect(await one.recorded(digests[0] ?? digestOf(Buffer.alloc(0)))).toEqual([self, others[0]])
})

test('the one of two peers whose name comes first opens the stream when they meet, and either one after it has ended', async () => {
  const [peer = ''] = others
  const { one, opened, sent, stream } = coordination({ connected: others })
  const before = others.filter((other) => self < other)
  expect(opened.toSorted()).toEqual(before.toSorted())
  const inbound = stream(peer)
  opened.length = 0
  one.left(peer)
  one.handler(inbound, { remotePeer: { toString: () => peer } } as unknown as Connection)
  one.joined(peer)
  await one.tell(peer, { n: 1 })
  expect([opened, sent.length]).toEqual([[], 1])
  Object.assign(inbound, { status: 'closed' })
  await one.tell(peer, { n: 2 })
  await one.tell(peer, { n: 3 })
  expect([opened, sent.length]).toEqual([[peer], 3])
})

test('who has announced a blob is asked of the next nearest where nothing is recorded, and not for long', async () => {
  const [digest] = digests
  if (digest === undefined) throw new Error('no digest')
  const [first = '', second = ''] = nearest(others, 0)
  const [holder = '', banned = ''] = others
  const own = coordination({ connected: others, recorded: [holder], others: { [first]: [second] } })
  expect([await own.one.announced(digest), own.looked]).toEqual([[holder], []])
  const both = coordination({ connected: others, recorded: [], others: { [first]: [], [second]: [banned, holder] } })
  expect(await both.one.announced(digest)).toEqual([holder])
  expect(both.looked).toEqual(expect.arrayContaining([first, second]))
  const silent = coordination({ connected: others, recorded: [], others: { [second]: [holder] } })
  expect(await silent.one.announced(digest)).toEqual([holder])
  const nobody = coordination({ connected: others, recorded: [] })
  expect(await nobody.one.announced(digest)).toEqual([])
})
