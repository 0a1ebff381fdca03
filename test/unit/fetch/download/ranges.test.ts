import { expect, it, onTestFinished, vi } from 'vitest'
import { MAX_URGENT, URGENT_CHUNKS } from '../../../../daemon/fetch/download/constants.ts'
import { readingOf, UpstreamFleet } from '../../../fixtures/upstream-fleet.ts'

function fleetOf(...options: ConstructorParameters<typeof UpstreamFleet>): UpstreamFleet {
  const fleet = new UpstreamFleet(...options)
  onTestFinished(() => fleet.end())
  return fleet
}

it('are urgent for peers while upstream has failed, and while it is not asked yet', async () => {
  const fleet = fleetOf({ claim: () => ({ role: 'holder', holder: 'one', members: [] }) })
  fleet.isDown = true
  const readings = new Set([readingOf(10, 12)])
  const node = fleet.add('one', { readings, passed: 0 })
  node.isOpen = true
  await vi.waitFor(() => expect(node.session.urgent).toEqual([10, 11]))
  expect(node.use.hasFailed).toBe(false)
  node.isOpen = false
  await vi.waitFor(() => expect(node.use.hasFailed).toBe(true))
  readings.clear()
  await vi.waitFor(() => expect(node.session.urgent).toEqual([]))
  readings.add(readingOf(150, 150))
  await vi.waitFor(() => expect(node.session.urgent).toEqual([150]))
})

it('are urgent of so many clients, and asked for at upstream of others too', async () => {
  const fleet = fleetOf()
  const readings = Array.from({ length: MAX_URGENT + 1 }, (_, at) => readingOf(4 * at, 4 * at + 3))
  const node = fleet.add('one', { readings: new Set(readings), passed: 0 })
  const last = 4 * MAX_URGENT
  // Peers have what all the others read.
  node.session.expects = (chunk) => chunk < last
  await vi.waitFor(() => expect(fleet.asked).toEqual([{ by: 'one', first: last, last: last + 3 }]))
  expect(node.session.urgent).toHaveLength(MAX_URGENT * URGENT_CHUNKS)
  expect(node.session.urgent).not.toContain(last)
})

it('are small by their own length, and not by what is left of them', async () => {
  const fleet = fleetOf()
  const long = readingOf(50, 60)
  long.position = long.end
  fleet.add('one', { readings: new Set([long, readingOf(70, 73)]), passed: 0 })
  await vi.waitFor(() => expect(fleet.asked).toEqual([{ by: 'one', first: 70, last: 73 }]))
})

it('that are long take no more than one chunk of who races, or hears of no coordinator at first', async () => {
  let questions = 0
  const fleet = fleetOf({
    claim: () => (questions++ === 0 ? undefined : { role: 'none', holder: 'other', members: [] }),
  })
  const node = fleet.add('one', { readings: new Set([readingOf(50, 149)]), passed: 0 })
  await vi.waitFor(() => expect(questions).toBeGreaterThan(2), 3_000)
  expect(node.held.has(50)).toBe(true)
  expect(fleet.asked).toEqual([50, 0].map((chunk) => ({ by: 'one', first: chunk, last: chunk })))
})

it('that are long are left with the claim, when the chunk that arrives is there; small ones go on', async () => {
  let isHolder = true
  const claim = () => ({ role: isHolder ? 'holder' : 'none', holder: undefined, members: [] }) as const
  const fleet = fleetOf({ claim, chunkMs: 100 })
  const node = fleet.add('one', { readings: new Set([readingOf(50, 149), readingOf(10, 13)]), passed: 0 })
  await vi.waitFor(() => expect(fleet.asked).toHaveLength(3))
  isHolder = false
  await vi.waitFor(() => expect(node.use.isRunning).toBe(false), 3_000)
  expect(node.held.has(13)).toBe(true)
  expect(node.held.firstMissing(50)).toBeLessThan(60)
  expect(fleet.asked).toHaveLength(3)
})
