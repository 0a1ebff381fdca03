import { describe, expect, it } from 'vitest'
import { MAX_DEPARTED, RETURN_LIMIT_MS, RETURN_MS } from '../../../../daemon/fetch/download/constants.ts'
import { Departed } from '../../../../daemon/fetch/download/departed.ts'

describe('peers that have left', () => {
  it('are met again after a pause, which is longer each time, up to a limit', () => {
    const departed = new Departed()
    expect(departed.isLately('one', 0)).toBe(false)
    let now = 0
    for (const pause of [RETURN_MS, RETURN_MS * 2, RETURN_MS * 4]) {
      departed.add('one', now)
      expect([departed.isLately('one', now + pause - 1), departed.isLately('one', now + pause)]).toEqual([true, false])
      now += pause
    }
    for (let times = 0; times < 10; times++) departed.add('one', now)
    expect(departed.isLately('one', now + RETURN_LIMIT_MS)).toBe(false)
    expect(departed.isLately('two', now)).toBe(false)
  })

  it('are remembered up to a number', () => {
    const departed = new Departed()
    for (let peer = 0; peer <= MAX_DEPARTED; peer++) departed.add(`peer ${peer}`, 0)
    expect(departed.isLately('peer 0', 0)).toBe(false)
    expect(departed.isLately('peer 1', 0)).toBe(true)
  })
})
