import { expect, it } from 'vitest'
import { CHUNK_LIMIT_MS, FIRST_CHUNK_LIMIT_MS, PACE_HALF_LIFE_MS } from '../../../../daemon/swarm/session/constants.ts'
import { LinePace } from '../../../../daemon/swarm/session/line-pace.ts'

it('follows what chunks take', () => {
  const pace = new LinePace()
  expect(pace.chunkMs(0)).toBe(0)
  pace.arrived(100, 0)
  expect(pace.chunkMs(0)).toBe(100)
  for (let chunk = 0; chunk < 80; chunk++) pace.arrived(500, 0)
  expect(pace.chunkMs(0)).toBeCloseTo(500, -1)
})

it('one peer that dawdles does not make a line slow, nor does what was so long ago', () => {
  const pace = new LinePace()
  pace.arrived(10 * CHUNK_LIMIT_MS, 0)
  expect(pace.chunkMs(0)).toBe(FIRST_CHUNK_LIMIT_MS)
  pace.arrived(10 * CHUNK_LIMIT_MS, 0)
  expect(pace.chunkMs(0)).toBeLessThan(0.3 * CHUNK_LIMIT_MS)
  const later = 12 * PACE_HALF_LIFE_MS
  expect(pace.chunkMs(later)).toBeLessThan(1)
  pace.arrived(500, later)
  expect(pace.chunkMs(later)).toBe(500)
})
