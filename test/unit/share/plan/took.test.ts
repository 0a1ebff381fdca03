import { describe, expect, it } from 'vitest'
import { NUMBERS } from '../../../../daemon/share/plan/numbers.ts'
import { Took } from '../../../../daemon/share/plan/took.ts'

describe('what a chunk takes', () => {
  it.each([
    ['nothing is known', [], NUMBERS.lateMs],
    ['chunks are fast', [10, 10, 10], NUMBERS.lateMs],
    ['one took long: it may have been luck', [1_000], 3_000],
  ])('is late after %s', (_what, times, limit) => {
    const took = new Took(NUMBERS)
    for (const ms of times) took.add(ms)
    expect(took.limit).toBe(limit)
  })

  it('is late soon where all take the same, and later where they do not', () => {
    const [even, uneven] = [new Took(NUMBERS), new Took(NUMBERS)]
    for (let index = 0; index < 50; index++) {
      even.add(1_000)
      uneven.add(index % 2 === 0 ? 500 : 1_500)
    }
    expect(even.limit).toBeLessThan(1_010)
    expect(uneven.limit).toBeGreaterThan(2_500)
  })
})
