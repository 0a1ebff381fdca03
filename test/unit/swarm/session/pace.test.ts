import { expect, it } from 'vitest'
import { CHUNK_LIMIT_MS } from '../../../../daemon/swarm/session/constants.ts'
import { Pace } from '../../../../daemon/swarm/session/pace.ts'

it('follows what chunks take, and one peer that dawdles does not make a line slow', () => {
  const pace = new Pace()
  expect(pace.chunkMs).toBe(0)
  pace.arrived(100)
  expect(pace.chunkMs).toBe(100)
  pace.arrived(10 * CHUNK_LIMIT_MS)
  expect(pace.chunkMs).toBeLessThan(0.15 * CHUNK_LIMIT_MS)
  for (let chunk = 0; chunk < 80; chunk++) pace.arrived(100)
  expect(pace.chunkMs).toBeCloseTo(100, -1)
})
