import { expect, it } from 'vitest'
import { UpstreamPace } from '../../../../daemon/fetch/download/upstream-pace.ts'

it('is what a chunk took since the first answer', () => {
  const pace = new UpstreamPace(0)
  expect(pace.chunkMs).toBeUndefined()
  pace.saw(0, 100, true)
  pace.saw(0, 900, false)
  expect(pace.chunkMs).toBeUndefined()
  pace.saw(1, 1_100, false)
  pace.saw(1, 5_000, false)
  expect([pace.chunkMs, pace.brought]).toEqual([1_000, 1])
  pace.saw(4, 6_100, false)
  expect(pace.chunkMs).toBe(1_500)
})

it('does not count what was brought before the first answer, nor by the one who had the claim before', () => {
  const pace = new UpstreamPace(0)
  pace.saw(50, 10, true)
  expect([pace.chunkMs, pace.brought]).toEqual([undefined, 50])
  pace.saw(51, 2_010, false)
  expect(pace.chunkMs).toBe(2_000)
  pace.saw(3, 3_000, false)
  pace.saw(3, 3_500, false)
  expect([pace.chunkMs, pace.brought]).toEqual([2_000, 3])
  pace.saw(5, 4_000, false)
  expect(pace.chunkMs).toBe(500)
})
