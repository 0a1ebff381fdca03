import { generateKeyPair } from '@libp2p/crypto/keys'
import { peerIdFromPrivateKey } from '@libp2p/peer-id'
import { pino } from 'pino'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { distanceOf, positionOfPeer } from '../../../../daemon/swarm/find/key-space.ts'
import { LARGE_MS, NEW_MS, REST_MS, ROUND_MS, SOON_MS } from '../../../../daemon/swarm/routing/constants.ts'
import { Neighbourhood } from '../../../../daemon/swarm/routing/neighbourhood.ts'
import { nearCount } from '../../../../daemon/swarm/routing/table.ts'

const [self = '', ...ids] = await Promise.all(
  Array.from({ length: 60 }, async () => peerIdFromPrivateKey(await generateKeyPair('Ed25519')).toString()),
)
const near = ids.toSorted(
  (a, b) => distanceOf(positionOfPeer(a), positionOfPeer(self)) - distanceOf(positionOfPeer(b), positionOfPeer(self)),
)
const far = near.toReversed()
const max = 16

let one: Neighbourhood
let dialled: string[]
let changes: boolean[]
/** No dial succeeds. */
let isBusy: boolean
beforeEach(() => {
  isBusy = false
  vi.useFakeTimers()
  dialled = []
  changes = []
})
afterEach(async () => {
  await one.stop()
  vi.useRealTimers()
})

/** A node whose lookups find the peers nearest to what they look for, and whose dials succeed. */
function start(existing: readonly string[] = ids): void {
  one = new Neighbourhood({
    self,
    max,
    usedAt: () => undefined,
    isSeed: () => false,
    isKnown: () => true,
    addressOf: () => undefined,
    nearest: async (to, count) =>
      existing
        .toSorted((a, b) => distanceOf(positionOfPeer(a), to) - distanceOf(positionOfPeer(b), to))
        .slice(0, count)
        .map((peer) => ({ peer, addresses: ['/ip4/192.0.2.1/tcp/1'] })),
    dial: async (peer) => {
      dialled.push(peer)
      if (isBusy) throw new Error('the handshake took too long')
      one.connected(peer)
    },
    admits: () => true,
    leave: async (peer) => {
      one.disconnected(peer)
    },
    onChange: (isLarge) => changes.push(isLarge),
    log: pino({ level: 'silent' }),
  })
}

test('a swarm that fits is connected with as a whole', () => {
  start()
  for (const peer of ids.slice(0, max)) {
    expect(one.mayDial(peer)).toBe(true)
    one.connected(peer)
  }
  vi.advanceTimersByTime(10 * ROUND_MS)
  expect([one.size, one.isLarge, one.needsSeeds, changes, dialled]).toEqual([max, false, true, [], []])
})

test('one that does not fit is found large: those for whom there is no room are left, and let alone for a time', async () => {
  start(far.slice(0, max + 4))
  for (const peer of far.slice(0, max + 4)) one.connected(peer)
  expect([one.isLarge, changes]).toEqual([true, [true]])
  await vi.advanceTimersByTimeAsync(2 * NEW_MS)
  expect(one.size).toBe(max)
  const left = far.slice(0, max + 4).filter((peer) => !one.mayDial(peer) && one.disconnected(peer))
  expect(left).toHaveLength(4)
  await vi.advanceTimersByTimeAsync(REST_MS / 3)
  for (const peer of left) expect(dialled).not.toContain(peer)
})

test('those that are missing are looked for soon: the nearest, and some of each bucket', async () => {
  start()
  for (const peer of far.slice(0, 3)) one.connected(peer)
  one.full(far[0] ?? '')
  one.full(far[1] ?? '')
  expect(one.isLarge).toBe(true)
  await vi.advanceTimersByTimeAsync(2 * SOON_MS)
  for (const peer of near.slice(0, nearCount(max))) expect(dialled).toContain(peer)
  expect(one.size).toBeLessThanOrEqual(max)
  const [nearest = ''] = near
  dialled.length = 0
  expect(one.disconnected(nearest)).toBe(false)
  await vi.advanceTimersByTimeAsync(2 * SOON_MS)
  expect(dialled).toContain(nearest)
})

test('where no dial succeeds, each round comes later than the one before, also for a node that has hardly anybody', async () => {
  start()
  isBusy = true
  for (const peer of far.slice(0, 3)) one.connected(peer)
  one.full(far[0] ?? '')
  one.full(far[1] ?? '')
  const [nearest = ''] = near
  const tries = () => dialled.filter((peer) => peer === nearest).length
  await vi.advanceTimersByTimeAsync(ROUND_MS)
  expect(tries()).toBeGreaterThanOrEqual(3)
  expect(tries()).toBeLessThanOrEqual(6)
  const before = tries()
  await vi.advanceTimersByTimeAsync(4 * ROUND_MS)
  expect(tries() - before).toBeLessThanOrEqual(6)
  isBusy = false
  await vi.advanceTimersByTimeAsync(2 * ROUND_MS)
  expect(one.size).toBeGreaterThanOrEqual(nearCount(max))
})

test('a newcomer takes the word of most of its peers that the swarm is large, and needs no seeds once it has its place', async () => {
  start()
  const [a = '', b = '', c = ''] = far
  for (const peer of [a, b, c]) one.connected(peer)
  one.heardLarge(a, true)
  expect(one.isLarge).toBe(false)
  one.heardLarge(b, true)
  expect([one.isLarge, one.needsSeeds]).toEqual([true, true])
  await vi.advanceTimersByTimeAsync(2 * SOON_MS)
  expect(one.needsSeeds).toBe(false)
})

test('one peer alone does not make a swarm large by saying that it has no room, however often', async () => {
  start()
  const [stranger = '', ...fleet] = far.slice(0, 4)
  for (const peer of fleet) one.connected(peer)
  for (let times = 0; times < 3; times++) {
    one.connected(stranger)
    one.full(stranger)
    one.disconnected(stranger)
    one.full(stranger)
    await vi.advanceTimersByTimeAsync(LARGE_MS)
  }
  expect([one.isLarge, changes]).toEqual([false, []])
})

test('a swarm that has shrunk is small again after a while, and connected as a whole', async () => {
  const left = far.slice(0, max - 2)
  start(left)
  for (const peer of far.slice(0, max + 4)) one.connected(peer)
  for (const peer of far.slice(4)) one.disconnected(peer)
  await vi.advanceTimersByTimeAsync(LARGE_MS - ROUND_MS)
  expect([one.isLarge, one.size < left.length]).toEqual([true, true])
  await vi.advanceTimersByTimeAsync(4 * ROUND_MS)
  expect([one.isLarge, changes, one.size]).toEqual([false, [true, false], left.length])
})

test('how many peers go in a minute is counted, without those that leave for lack of room', async () => {
  start()
  for (const peer of ids.slice(0, 10)) one.connected(peer)
  one.full(ids[0] ?? '')
  one.disconnected(ids[0] ?? '')
  expect(one.lossesPerMinute).toBe(0)
  one.disconnected(ids[1] ?? '')
  expect(one.lossesPerMinute).toBeCloseTo(1 / 8)
})
