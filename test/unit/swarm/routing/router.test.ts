import { generateKeyPairFromSeed } from '@libp2p/crypto/keys'
import type { Connection } from '@libp2p/interface'
import { peerIdFromPrivateKey } from '@libp2p/peer-id'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { distanceOf, positionOf, positionOfPeer } from '../../../../daemon/swarm/find/key-space.ts'
import type { PeerId } from '../../../../daemon/swarm/ports.ts'
import { multihashOf } from '../../../../daemon/swarm/router/cid.ts'
import { COPIES, FIRST_KEYS, MAX_PASSED_ON } from '../../../../daemon/swarm/routing/constants.ts'
import { Router } from '../../../../daemon/swarm/routing/router.ts'
import { signingKey } from '../../../../daemon/swarm/signing.ts'
import { pseudoRandomBytes } from '../../../fixtures/bytes.ts'
import { freeze, streamPair } from '../../../fixtures/stream-pair.ts'

interface Member {
  readonly id: PeerId
  readonly router: Router
  readonly records: Map<string, Set<PeerId>>
  readonly heard: { readonly from: PeerId; readonly message: unknown }[]
  readonly banned: Set<PeerId>
  readonly closed: Set<PeerId>
}

let drawn = 0
/** Bytes by chance, and the same in each run: what is connected with what hangs on them. */
const chance = (count: number): Uint8Array => pseudoRandomBytes(count, `routes ${drawn++}`)
const keys = await Promise.all(Array.from({ length: 24 }, () => generateKeyPairFromSeed('Ed25519', chance(32))))
beforeEach(({ task }) => {
  drawn = task.name.length * 1_000
})
let members: Member[] = []
let large = true
/** Ends of streams to nodes that have frozen: what is sent there gets no answer. */
let frozen = new Set<PeerId>()
afterEach(() => {
  large = true
  for (const { router } of members) router.stop()
  members = []
  frozen = new Set()
})

const memberOf = (id: PeerId) => members.find((member) => member.id === id)
const hex = (key: Uint8Array) => Buffer.from(key).toString('hex')
const placeOf = (key: Uint8Array) => positionOf(multihashOf(key))

/** All members, those nearest to a position first. */
function nearestTo(position: number, of: readonly Member[] = members): readonly PeerId[] {
  return of
    .map(({ id }) => id)
    .toSorted((a, b) => distanceOf(positionOfPeer(a), position) - distanceOf(positionOfPeer(b), position))
}

/** Nodes that are connected only with their nearest few, and one or two others of each bucket. */
function start(count = keys.length): void {
  members = keys.slice(0, count).map((key) => {
    const id = peerIdFromPrivateKey(key).toString()
    const records = new Map<string, Set<PeerId>>()
    const heard: Member['heard'] = []
    const banned = new Set<PeerId>()
    const closed = new Set<PeerId>()
    const router = new Router({
      self: id,
      key: signingKey(key),
      openStream: async (peer) => {
        const other = memberOf(peer)
        if (other === undefined) throw new Error('it is not connected')
        const [here, there] = streamPair()
        other.router.handler(there, { remotePeer: { toString: () => id } } as unknown as Connection)
        if (frozen.has(peer)) freeze(there)
        return here
      },
      addressesOf: (peer) => [`/dns4/${peer.slice(-8).toLowerCase()}/tcp/1`],
      admits: (peer) => !banned.has(peer),
      canGive: (peer) => !closed.has(peer),
      records: { local: async (wanted) => [...(records.get(hex(wanted)) ?? [])] },
      announced: {
        place: async (provider, placed) => {
          for (const one of placed) records.set(hex(one), (records.get(hex(one)) ?? new Set()).add(provider))
          return placed.length
        },
        withdraw: async (provider, taken) => {
          for (const one of taken) records.get(hex(one))?.delete(provider)
          return taken.length
        },
      },
      listener: {
        claim: (from, message) => {
          if (message === 'malformed') throw new Error('malformed')
          heard.push({ from, message })
        },
      },
      isLarge: () => large,
      onFull: () => {},
      onLarge: () => {},
    })
    return { id, router, records, heard, banned, closed }
  })
  for (const member of members) {
    const position = positionOfPeer(member.id)
    const buckets = new Map<number, number>()
    for (const [rank, id] of nearestTo(position).slice(1).entries()) {
      const bucket = Math.clz32(position ^ positionOfPeer(id))
      const before = buckets.get(bucket) ?? 0
      buckets.set(bucket, before + 1)
      if (rank >= 6 && before >= 2) continue
      member.router.connected(id)
      memberOf(id)?.router.connected(member.id)
    }
  }
}

function leave(id: PeerId): void {
  for (const { router } of members) router.disconnected(id)
  memberOf(id)?.router.stop()
  members = members.filter((member) => member.id !== id)
}

describe('the nearest nodes', () => {
  test('are the same for all who ask', async () => {
    start()
    expect(members.some(({ router }) => members.filter(({ id }) => router.isConnected(id)).length < 20)).toBe(true)
    for (let probe = 0; probe < 20; probe++) {
      const to = Buffer.from(chance(4)).readUInt32BE()
      const right = nearestTo(to).slice(0, 3)
      for (const { router } of members) expect((await router.nearest(to, 3)).map(({ peer }) => peer)).toEqual(right)
    }
  })

  test('come with their addresses, without whoever looks for its neighbours', async () => {
    start()
    for (const { id, router } of members) {
      const near = await router.nearest(positionOfPeer(id), 4, id)
      expect(near.map(({ peer }) => peer)).not.toContain(id)
      expect(near[0]?.peer).toBe(nearestTo(positionOfPeer(id))[1])
      expect(near[0]?.addresses).toEqual([`/dns4/${near[0]?.peer.slice(-8).toLowerCase()}/tcp/1`])
    }
  })

  test('of one peer and its own peers are told by that peer itself', async () => {
    start()
    for (const { id, router } of members) {
      const asked = members.filter((other) => router.isConnected(other.id))
      for (const other of asked) {
        const known = members.filter((one) => one === other || other.router.isConnected(one.id))
        const right = nearestTo(positionOfPeer(id), known).filter((peer) => peer !== id)
        const found = await router.nearestKnownTo(other.id, positionOfPeer(id), 4)
        expect(found.map(({ peer }) => peer)).toEqual(right.slice(0, 4))
      }
    }
    expect(await members[0]?.router.nearestKnownTo('nobody', 0, 4)).toEqual([])
  })

  test('are others once one has left', async () => {
    start()
    const to = placeOf(chance(32))
    const [first = '', second] = nearestTo(to)
    leave(first)
    for (const { router } of members) expect((await router.nearest(to, 1))[0]?.peer).toBe(second)
  })

  test('are found past one that is frozen, once its connections are cut; until then whoever asks hears something', async () => {
    start()
    const to = placeOf(chance(32))
    const [nearest = '', next] = nearestTo(to)
    frozen.add(nearest)
    const asker = members.find(({ id }) => id !== nearest)
    await asker?.router.nearest(to, 1)
    // discovery/liveness.ts does so within seconds.
    for (const { router } of members) router.disconnected(nearest)
    expect((await asker?.router.nearest(to, 1))?.[0]?.peer).toBe(next)
  }, 60_000)

  test('are none from whom nothing can be fetched', async () => {
    start()
    const to = placeOf(chance(32))
    const [first = '', second] = nearestTo(to)
    for (const { closed } of members) closed.add(first)
    for (const { id, router } of members) if (id !== first) expect((await router.nearest(to, 1))[0]?.peer).toBe(second)
  })
})

test('a peer tells where it is, and one that has left is not found', async () => {
  start()
  const { signal } = new AbortController()
  const [asker, other] = members as [Member, Member]
  expect(await asker.router.where(other.id, signal)).toEqual([`/dns4/${other.id.slice(-8).toLowerCase()}/tcp/1`])
  leave(other.id)
  expect(await asker.router.where(other.id, signal)).toBeUndefined()
})

test('a peer is not looked for any longer than the asker likes, also where the way there is frozen', async () => {
  start()
  const [asker, other] = members as [Member, Member]
  for (const { id } of members) if (id !== asker.id) frozen.add(id)
  const ended = new AbortController()
  const found = asker.router.where(other.id, ended.signal)
  ended.abort(new Error('it is not wanted any more'))
  const sooner = await Promise.race([
    found.catch((error) => error.message),
    asker.router.nearest(positionOfPeer(other.id), 1),
  ])
  expect(sooner).toBe('it is not wanted any more')
  await expect(asker.router.where(other.id, AbortSignal.abort())).rejects.toThrow()
})

describe('blobs that are announced', () => {
  const blobs = Array.from({ length: 40 }, () => chance(32)).sort((a, b) => placeOf(a) - placeOf(b))

  async function announce({ router }: Member, action: 'place' | 'withdraw'): Promise<void> {
    for (let at = 0; at < blobs.length; ) at += await router.announce(action, blobs.slice(at, at + FIRST_KEYS))
  }

  test('are recorded by the nearest few, found by all, and by none once they are taken back', async () => {
    start()
    const [holder] = members as [Member]
    await announce(holder, 'place')
    await Promise.resolve()
    for (const blob of blobs) {
      const having = members.filter(({ records }) => records.get(hex(blob))?.has(holder.id)).map(({ id }) => id)
      expect(having).toEqual(expect.arrayContaining(nearestTo(placeOf(blob)).slice(0, COPIES) as string[]))
      expect(having.length).toBeLessThanOrEqual(MAX_PASSED_ON + 1)
    }
    for (const { router } of members) expect(await router.find(blobs[0] ?? chance(32))).toEqual([holder.id])
    await announce(holder, 'withdraw')
    for (const blob of blobs) expect(await members.at(-1)?.router.find(blob)).toEqual([])
  })

  test('are found as well when the nearest node has left, or has just come and knows nothing', async () => {
    start()
    const [holder] = members as [Member]
    await announce(holder, 'place')
    const [blob = chance(32)] = blobs
    memberOf(nearestTo(placeOf(blob))[0] ?? '')?.records.clear()
    for (const { router } of members) expect(await router.find(blob)).toEqual([holder.id])
    const [nearest = ''] = nearestTo(placeOf(blob)).filter((id) => id !== holder.id)
    leave(nearest)
    for (const { router } of members) expect(await router.find(blob)).toEqual([holder.id])
  })

  test('are not taken from a node that is banned', async () => {
    start()
    const [holder] = members as [Member]
    for (const { banned } of members) banned.add(holder.id)
    const [blob = chance(32)] = blobs
    if (nearestTo(placeOf(blob))[0] === holder.id) return
    await expect(holder.router.announce('place', [blob])).rejects.toThrow('refused')
    expect(members.some(({ records }) => records.size > 0)).toBe(false)
  })
})

describe('what is told to a node', () => {
  test('comes there from any other, in order, and from whom it says', async () => {
    start()
    const [receiver, ...others] = members as [Member, ...Member[]]
    for (const { router } of others) for (let n = 0; n < 3; n++) await router.tell(receiver.id, { n })
    expect(receiver.heard).toEqual(others.flatMap(({ id }) => [0, 1, 2].map((n) => ({ from: id, message: { n } }))))
  })

  test('is refused where it is not there, has banned the origin, or can not read it', async () => {
    start()
    const [receiver, other, third] = members as [Member, Member, Member]
    receiver.banned.add(other.id)
    await expect(other.router.tell(receiver.id, { n: 1 })).rejects.toThrow('refused')
    await expect(third.router.tell(receiver.id, 'malformed' as unknown as object)).rejects.toThrow('refused')
    leave(receiver.id)
    await expect(third.router.tell(receiver.id, { n: 1 })).rejects.toThrow('unreachable')
    expect(receiver.heard).toEqual([])
  })
})

describe('in a small swarm', () => {
  test('nobody is heard of whom this node is not connected with: keys cost nothing', async () => {
    start()
    large = false
    const [receiver, ...others] = members as [Member, ...Member[]]
    const near = others.filter(({ id }) => receiver.router.isConnected(id))
    const strangers = others.filter(({ id }) => !receiver.router.isConnected(id))
    expect([near.length > 0, strangers.length > 0]).toEqual([true, true])
    for (const { router } of near) await router.tell(receiver.id, { n: 1 })
    for (const { router } of strangers) await expect(router.tell(receiver.id, { n: 2 })).rejects.toThrow('refused')
    expect(receiver.heard.map(({ from }) => from).toSorted()).toEqual(near.map(({ id }) => id).toSorted())
  })

  test('nor are its blobs recorded', async () => {
    start()
    large = false
    const [holder] = members as [Member]
    for (let probe = 0; probe < 40; probe++) await holder.router.announce('place', [chance(32)]).catch(() => {})
    await Promise.resolve()
    const having = members.filter(({ records }) => [...records.values()].some((providers) => providers.has(holder.id)))
    for (const { id } of having) expect(id === holder.id || holder.router.isConnected(id)).toBe(true)
  })
})

describe('a peer that asks for more than its share of time', () => {
  test('hears that this node is busy; what others ask is answered', async () => {
    start(3)
    const [receiver, flooder, other] = members as [Member, Member, Member]
    const long = { text: 'x'.repeat(200_000) }
    const sent = Array.from({ length: 100 }, () => flooder.router.tell(receiver.id, long))
    const failures = (await Promise.allSettled(sent)).filter(({ status }) => status === 'rejected')
    expect(failures.length).toBeGreaterThan(50)
    for (const failure of failures) expect(String((failure as PromiseRejectedResult).reason)).toContain('busy')
    expect(receiver.heard.length).toBe(100 - failures.length)
    await other.router.tell(receiver.id, { n: 1 })
    expect(receiver.heard.at(-1)).toEqual({ from: other.id, message: { n: 1 } })
  })
})
