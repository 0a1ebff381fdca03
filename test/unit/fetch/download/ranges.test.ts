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
