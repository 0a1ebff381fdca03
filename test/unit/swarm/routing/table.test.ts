import { describe, expect, test } from 'vitest'
import { distanceOf } from '../../../../daemon/swarm/find/key-space.ts'
import { LEAST_CONTACTS, NEW_MS, NEW_ROOM, OWN_SHARE } from '../../../../daemon/swarm/routing/constants.ts'
import {
  bucketOf,
  estimateOf,
  excessOf,
  isWanted,
  lackingBuckets,
  nearCount,
  somewhereIn,
  type TablePeer,
} from '../../../../daemon/swarm/routing/table.ts'

/** Numbers at random from a seed, 0 to 1 (mulberry32). */
function seeded(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

const random = seeded(1)
const max = 40
const now = 1_000_000

function peerAt(position: number, difference: Partial<TablePeer> = {}): TablePeer {
  return {
    peer: `peer ${position}`,
    position,
    connectedAt: 0,
    usedAt: undefined,
    isInUse: false,
    isSeed: false,
    isKnown: true,
    ...difference,
  }
}

const anywhere = () => Math.floor(random() * 2 ** 32)
const peersAnywhere = (count: number) => Array.from({ length: count }, () => peerAt(anywhere()))

describe('whom a node leaves', () => {
  const self = anywhere()

  test('is nobody while all fit', () => {
    expect(excessOf(self, peersAnywhere(max), max, now)).toEqual([])
  })

  test('is as many as are too many, and neither near nor one of the few of a bucket', () => {
    const peers = peersAnywhere(90)
    const left = new Set(excessOf(self, peers, max, now))
    expect(left.size).toBe(50)
    const kept = peers.filter(({ peer }) => !left.has(peer))
    const nearest = peers.toSorted((a, b) => distanceOf(self, a.position) - distanceOf(self, b.position))
    for (const peer of nearest.slice(0, nearCount(max))) expect(kept).toContain(peer)
    for (const bucket of [0, 1]) {
      const count = kept.filter(({ position }) => bucketOf(self, position) === bucket).length
      expect(count).toBeGreaterThanOrEqual(LEAST_CONTACTS)
    }
  })

  test('of those kept for no reason are the ones of the farthest bucket, and of these the one idle for longest', () => {
    const far = Array.from({ length: max + 1 }, (_, index) =>
      peerAt(somewhereIn(self, 0, random()), { connectedAt: index, usedAt: index === max ? 5 : 100 + index }),
    )
    expect(excessOf(self, far, max, now)).toEqual([far[max]?.peer])
  })

  test.each([
    ['an address', (_index: number) => '192.0.2.1', '192.0.2.2'],
    ['a network', (index: number) => `2001:db8:0:1::${index.toString(16)}`, '2001:db8:0:2::1'],
    ['an address of the same network', () => '2001:db8::1', '2001:db8::2'],
  ])('of those kept for no reason are the ones of %s that has most, however long others are idle', (_, many, other) => {
    const own = seeded(2)
    const at = () => somewhereIn(self, 0, own())
    const crowd = Array.from({ length: 3 * max }, (_, index) =>
      peerAt(at(), { connectedAt: 100, address: many(index) }),
    )
    const idle = Array.from({ length: max / 2 }, () => peerAt(at(), { connectedAt: 1 }))
    const others = idle.map((peer, index) => (index === 0 ? { ...peer, address: other } : peer))
    const left = excessOf(self, [...others, ...crowd], max, now)
    expect(left).toHaveLength(2.5 * max)
    for (const { peer } of others) expect(left).not.toContain(peer)
  })

  test('is not who is in use, nor who is new while there is a little room, and seeds only where nobody else is left', () => {
    const inUse = Array.from({ length: max + 10 }, () => peerAt(anywhere(), { isInUse: true }))
    expect(excessOf(self, inUse, max, now)).toEqual([])
    const fresh = Array.from({ length: max + 10 }, () => peerAt(somewhereIn(self, 0, random()), { connectedAt: now }))
    expect(excessOf(self, fresh, max, now)).toEqual([])
    expect(excessOf(self, fresh, max, now + NEW_MS)).toHaveLength(10)
    const many = Array.from({ length: 3 * max }, () => peerAt(somewhereIn(self, 0, random()), { connectedAt: now }))
    expect(excessOf(self, many, max, now)).toHaveLength(3 * max - NEW_ROOM * max)
    const seeds = Array.from({ length: max }, () => peerAt(somewhereIn(self, 0, random()), { isSeed: true }))
    const others = Array.from({ length: 5 }, () => peerAt(somewhereIn(self, 0, random()), { connectedAt: 1 }))
    expect(excessOf(self, [...seeds, ...others], max, now).toSorted()).toEqual(
      others.map(({ peer }) => peer).toSorted(),
    )
  })

  test('is whoever passes nothing on, however near', () => {
    const others = peersAnywhere(max)
    const other = peerAt(self ^ 1, { isKnown: false })
    expect(excessOf(self, [...others, other], max, now)).toEqual([other.peer])
  })
})

describe('positions', () => {
  test('are anywhere in a bucket', () => {
    for (const bucket of [0, 1, 7, 31]) {
      const self = anywhere()
      for (const share of [0, random(), 0.999_999])
        expect(bucketOf(self, somewhereIn(self, bucket, share))).toBe(bucket)
    }
  })

  test('tell how many nodes there are, within a factor of two', () => {
    for (const nodes of [100, 1_000, 10_000]) {
      const self = anywhere()
      expect(Math.abs(Math.log2(estimateOf(self, peersAnywhere(nodes), max) / nodes))).toBeLessThan(1)
    }
  })
})

/** A node of a swarm of positions: it knows others only by being connected with them. */
interface Place {
  readonly position: number
  readonly peers: Map<number, Place>
}

/** Who is nearest to a position, as the message goes that starts at a node, and in how many steps. */
function route(from: Place, to: number, without?: Place): { end: Place; steps: number } {
  let end = from
  for (let steps = 0; ; steps++) {
    let least = end === without ? Number.POSITIVE_INFINITY : distanceOf(end.position, to)
    let next: Place | undefined
    for (const peer of end.peers.values()) {
      const distance = distanceOf(peer.position, to)
      if (peer === without || distance >= least) continue
      least = distance
      next = peer
    }
    if (next === undefined) return { end, steps }
    end = next
  }
}

function nearestOf({ position, peers }: Place, to: number, count: number, without: Place): readonly Place[] {
  return [{ position, peers }, ...peers.values()]
    .map((place) => (place.position === position ? { position, peers } : place))
    .filter((place) => place.position !== without.position)
    .sort((a, b) => distanceOf(a.position, to) - distanceOf(b.position, to))
    .slice(0, count)
}

/** What `neighbourhood.ts` does with the answers, of one node. */
function look(all: ReadonlyMap<number, Place>, self: Place, limit: number): void {
  const meet = (places: readonly Place[]) => {
    for (const { position } of places) {
      const other = all.get(position)
      if (other === undefined || self.peers.has(position)) continue
      if (!isWanted(self.position, [...self.peers.values()], limit, position)) continue
      self.peers.set(position, other)
      other.peers.set(self.position, self)
      for (const place of [self, other]) trim(all, place, limit)
    }
  }
  const { end } = route(self, self.position, self)
  meet(nearestOf(end, self.position, nearCount(limit) + 4, self))
  for (const bucket of lackingBuckets(self.position, [...self.peers.values()], limit)) {
    const to = somewhereIn(self.position, bucket, random())
    meet(nearestOf(route(self, to, self).end, to, 3, self))
  }
}

function trim(all: ReadonlyMap<number, Place>, self: Place, limit: number): void {
  const peers = [...self.peers.keys()].map((position, index) =>
    peerAt(position, { peer: `${position}`, connectedAt: index }),
  )
  for (const peer of excessOf(self.position, peers, limit, now)) {
    all.get(Number(peer))?.peers.delete(self.position)
    self.peers.delete(Number(peer))
  }
}

test.each([
  [200, 40],
  [200, 100],
  [1_000, 40],
])(
  'of %i nodes that join one after the other, with %i connections each at most, all find the same nearest',
  (count, limit) => {
    const all = new Map<number, Place>()
    while (all.size < count) {
      const place: Place = { position: anywhere(), peers: new Map() }
      const [seed] = all.values()
      all.set(place.position, place)
      if (seed === undefined) continue
      place.peers.set(seed.position, seed)
      seed.peers.set(place.position, place)
      // A newcomer is judged after it has found its place.
      look(all, place, limit)
      trim(all, seed, limit)
    }
    for (let round = 0; round < 3; round++) for (const place of all.values()) look(all, place, limit)
    const places = [...all.values()]
    let most = 0
    for (let probe = 0; probe < 1_000; probe++) {
      const to = anywhere()
      const right = places.reduce((a, b) => (distanceOf(a.position, to) < distanceOf(b.position, to) ? a : b))
      const from = places[Math.floor(random() * places.length)]
      if (from === undefined) throw new Error('there are no places')
      const { end, steps } = route(from, to)
      expect(end.position).toBe(right.position)
      most = Math.max(most, steps)
    }
    expect(most).toBeLessThanOrEqual(6)
    const degrees = places.map(({ peers }) => peers.size)
    expect(Math.max(...degrees)).toBeLessThanOrEqual(limit)
    expect(degrees.reduce((sum, degree) => sum + degree, 0) / count).toBeGreaterThan(limit * OWN_SHARE * 0.9)
  },
  60_000,
)
