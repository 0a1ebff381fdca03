import { describe, expect, it } from 'vitest'
import { Pace } from '../../proxy/pace.ts'

/** After how many ms a sender is given up that sends so many bytes each so many ms; undefined where it is not within ten minutes. */
function givenUpAfter(bytes: number, ms: number, silence = 20_000): number | undefined {
  const pace = new Pace(silence)
  for (let time = ms; time <= 600_000; time += ms) if (pace.isTooSlow(bytes, ms)) return time
  return undefined
}

describe('the pace of a body', () => {
  it.each([
    ['a byte a second', 1, 1_000, 40_000],
    ['a byte each 19 s', 1, 19_000, 57_000],
    ['a little too little', 1_000, 1_000, 40_000],
    ['the slowest line', 1_100, 1_000, undefined],
    ['a line that stops for 19 s again and again', 20_000, 19_000, undefined],
  ])('of %s', (_what, bytes, ms, expected) => {
    expect(givenUpAfter(bytes, ms)).toBe(expected)
  })

  it('may stop for as long as the configuration says', () => {
    expect(givenUpAfter(500_000, 300_000, 300_000)).toBeUndefined()
    expect(givenUpAfter(1, 1_000, 300_000)).toBe(600_000)
  })
})
