import { expect, it, vi } from 'vitest'
import {
  CREDIBLE_CHUNK_MS,
  STALE_CHUNKS,
  STALE_LIMIT_MS,
  STALE_MS,
} from '../../../../daemon/fetch/download/constants.ts'
import { UpstreamPace } from '../../../../daemon/fetch/download/upstream-pace.ts'

// The two limits are the same time: here one can tell which is which.
vi.mock('../../../../daemon/fetch/download/constants.ts', async (original) => ({
  ...(await original<typeof import('../../../../daemon/fetch/download/constants.ts')>()),
  STALE_LIMIT_MS: 15_000,
}))

it('is what a chunk took since this holder was heard of', () => {
  const pace = new UpstreamPace()
  pace.saw('a', 0, 100)
  pace.saw('a', 0, 900)
  expect(pace.chunkMs).toBe(0)
  pace.saw('a', 1, 1_100)
  pace.saw('a', 1, 5_000)
  expect(pace.chunkMs).toBe(1_000)
  pace.saw('a', 4, 6_100)
  expect(pace.chunkMs).toBe(1_500)
})

it('does not count what was brought before the first answer, nor by another one, nor while nobody had the claim; and is kept', () => {
  const pace = new UpstreamPace()
  pace.saw('a', 50, 10)
  expect(pace.chunkMs).toBe(0)
  pace.saw('a', 51, 2_010)
  expect(pace.chunkMs).toBe(2_000)
  pace.saw('b', 60, 300_000)
  expect(pace.chunkMs).toBe(2_000)
  pace.saw('b', 62, 301_000)
  expect(pace.chunkMs).toBe(500)
  // This node itself, or nobody.
  pace.saw(undefined, 0, 302_000)
  expect(pace.chunkMs).toBe(500)
  pace.saw('b', 62, 900_000)
  pace.saw('b', 63, 900_100)
  expect(pace.chunkMs).toBe(100)
})

it('begins anew with a holder that does', () => {
  const pace = new UpstreamPace()
  pace.saw('a', 10, 0)
  pace.saw('a', 3, 1_000)
  pace.saw('a', 4, 1_500)
  expect(pace.chunkMs).toBe(500)
})

it('tells which chunks are with the swarm, while whoever brought them goes on', () => {
  const pace = new UpstreamPace()
  expect(pace.hasBrought(0, 0)).toBe(false)
  pace.saw('a', 2, 0)
  const has = (now: number) => [0, 1, 2].map((chunk) => pace.hasBrought(chunk, now))
  expect(has(STALE_MS - 1)).toEqual([true, true, false])
  expect(has(STALE_MS)).toEqual([false, false, false])
  pace.saw('a', 3, 4_000)
  expect(has(4_000 + STALE_CHUNKS * 4_000 - 1)).toEqual([true, true, true])
  expect(has(4_000 + STALE_CHUNKS * 4_000)).toEqual([false, false, false])
  pace.saw('a', 4, 100_000)
  expect(pace.hasBrought(0, 100_000 + STALE_LIMIT_MS)).toBe(false)
  pace.saw(undefined, 4, 100_001)
  expect(pace.hasBrought(0, 100_001)).toBe(false)
})

it('is not believed beyond a limit', () => {
  const pace = new UpstreamPace()
  pace.saw('a', 0, 0)
  pace.saw('a', 1, 1_000_000)
  expect(pace.chunkMs).toBe(CREDIBLE_CHUNK_MS)
})
