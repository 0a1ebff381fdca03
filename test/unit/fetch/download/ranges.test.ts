import { expect, it, onTestFinished, vi } from 'vitest'
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
