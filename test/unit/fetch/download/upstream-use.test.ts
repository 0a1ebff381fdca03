import { expect, it, onTestFinished, vi } from 'vitest'
import {
  ALONE_MS,
  DESPERATE_CHUNKS,
  DESPERATE_MS,
  FOLLOW_PATIENCE_MS,
} from '../../../../daemon/fetch/download/constants.ts'
import { quarterBytes as chunkBytes } from '../../../../daemon/verify/quarter.ts'
import { fleetChunks, readingOf, UpstreamFleet } from '../../../fixtures/upstream-fleet.ts'

function fleetOf(...options: ConstructorParameters<typeof UpstreamFleet>): UpstreamFleet {
  const fleet = new UpstreamFleet(...options)
  onTestFinished(() => fleet.end())
  return fleet
}

it('makes one request a turn, of more chunks each time, and leaves the next one to another node', async () => {
  const fleet = fleetOf()
  for (const name of ['one', 'two']) fleet.add(name)
  await vi.waitFor(() => expect(fleet.asked.length).toBeGreaterThanOrEqual(6), 10_000)
  const asked = fleet.asked.slice(0, 6)
  const [first = '', second = ''] = asked.map(({ by }) => by)
  expect(asked.map(({ by }) => by)).toEqual([first, second, first, second, first, second])
  expect(second).not.toBe(first)
  const sizes = asked.map(({ first: from, last = fleetChunks - 1 }) => last - from + 1)
  expect(sizes).toEqual([1, 1, 2, 2, 8, 8])
  expect(fleet.mostAtOnce).toBe(1)
}, 15_000)

it('asks for no more than a turn is for where a client reads a long range', async () => {
  const fleet = fleetOf()
  fleet.add('one', { readings: new Set([readingOf(50, fleetChunks - 1)]) })
  await vi.waitFor(() => expect(fleet.asked.length).toBeGreaterThanOrEqual(4), 10_000)
  const sizes = fleet.asked.slice(0, 4).map(({ first, last = fleetChunks - 1 }) => [first, last - first + 1])
  expect(sizes).toEqual([
    [50, 1],
    [51, 2],
    [53, 8],
    [61, DESPERATE_CHUNKS],
  ])
  expect(fleet.mostAtOnce).toBe(1)
}, 15_000)

it('serves all its clients in turn', async () => {
  const fleet = fleetOf()
  const whole = () => ({ ...readingOf(0, fleetChunks - 1), isRange: false })
  fleet.add('one', { readings: new Set([whole(), readingOf(50, 99), whole(), readingOf(150, fleetChunks - 1)]) })
  await vi.waitFor(() => expect(fleet.asked.length).toBeGreaterThanOrEqual(4), 10_000)
  expect(fleet.asked.slice(0, 4).map(({ first }) => first)).toEqual([50, 150, 0, 51])
}, 15_000)

it('makes one request at a time, also where it does not wait for its turn', async () => {
  const fleet = fleetOf()
  fleet.add('one', { readings: new Set([readingOf(50, 99), readingOf(150, 199)]), passed: ALONE_MS })
  await vi.waitFor(() => expect(fleet.asked.length).toBeGreaterThanOrEqual(4))
  expect(fleet.mostAtOnce).toBe(1)
})

it('has its request in the next turn, though what an earlier one has begun is still on its way', async () => {
  const fleet = fleetOf({ chunkMs: 1_000 })
  const { use, pass } = fleet.add('one')
  await vi.waitFor(() => expect(fleet.asked).toHaveLength(1))
  // The turn is over as a peer goes on, and then no peer does.
  use.gotFromPeer()
  await vi.waitFor(() => expect(fleet.wishes).toContain('nothing'))
  pass(DESPERATE_MS)
  const before = fleet.wishes.length
  await vi.waitFor(() => expect(fleet.wishes.length).toBeGreaterThan(before))
  expect(use.isRunning).toBe(true)
  await vi.waitFor(() => expect(fleet.asked).toHaveLength(2), 3_000)
  expect(fleet.wishes.slice(before)).not.toContain('nothing')
})

it('asks for nothing in a turn that a client waits for already', async () => {
  const fleet = fleetOf({ chunkMs: 100 })
  fleet.add('one', { readings: new Set([readingOf(60, 63), readingOf(62, 120)]) })
  await vi.waitFor(() => expect(fleet.asked).toHaveLength(2))
  const [small, turn] = fleet.asked
  expect(small).toMatchObject({ first: 60, last: 63 })
  expect(turn).toMatchObject({ first: 0, last: 0 })
})

it('is not hopeless while peers fill a thin line, though no chunk is whole for long', () => {
  const { use, swarming, pass } = fleetOf().add('one', { passed: FOLLOW_PATIENCE_MS })
  // 60 kbit/s is nothing; 1 Mbit/s, of eight chunks at once, is all that a thin line can give.
  const isHopeless = (bytes: number) => {
    swarming.bytes = bytes
    use.look()
    return use.isHopeless
  }
  expect([isHopeless(150_000), isHopeless(2_500_000)]).toEqual([true, false])
  pass(ALONE_MS)
  expect([isHopeless(0.9 * chunkBytes), isHopeless(7 * chunkBytes)]).toEqual([true, false])
  pass(ALONE_MS)
  expect(isHopeless(15 * chunkBytes)).toBe(true)
})

/** A node that has the claim at first, and may race for a chunk from its next question on. */
function loser(chunkMs?: number): UpstreamFleet {
  let questions = 0
  const claim = () => {
    const role = questions++ === 0 ? 'holder' : 'racer'
    return { role, holder: role === 'holder' ? 'one' : 'other', members: [] } as const
  }
  const fleet = fleetOf({ claim, ...(chunkMs === undefined ? {} : { chunkMs }) })
  fleet.add('one', { passed: 0 })
  return fleet
}

it('stops to fetch all when another node has the claim, though it may race for a chunk', async () => {
  const fleet = loser()
  // The first request would go on for seconds, with nothing beside it.
  await vi.waitFor(() => expect(fleet.asked.length).toBeGreaterThan(1))
  const [all, ...others] = fleet.asked
  expect(all).toMatchObject({ first: 0, last: undefined })
  for (const { first, last } of others) expect(last).toBe(first)
})

it('races for the chunk that arrives, where there is one: what has come of it is not thrown away', async () => {
  const fleet = loser(1_000)
  await vi.waitFor(() => expect(fleet.asked.length).toBeGreaterThan(1), 3_000)
  expect(fleet.asked.slice(0, 2)).toMatchObject([{ first: 0 }, { first: 1, last: 1 }])
})
