import { describe, expect, it } from 'vitest'
import { Arrears } from '../../../../daemon/share/plan/arrears.ts'
import { NUMBERS } from '../../../../daemon/share/plan/numbers.ts'

const { arrearsMs, arrearsMemory, enoughMs, quarters } = NUMBERS

/** What a node of the lowest rank has waited for, looking as often as it asks to. */
function setUp() {
  const arrears = new Arrears(NUMBERS, 0)
  let now = 0
  arrears.pass(now)
  arrears.count(true)
  /** Time passes, with something done after each so many ms. */
  const wait = (ms: number, each = Number.POSITIVE_INFINITY, act = () => {}) => {
    const end = now + ms
    for (let next = now + each; now < end; ) {
      now = Math.min(end, next, arrears.wakeAt)
      arrears.pass(now)
      if (now < next) continue
      next += each
      act()
    }
  }
  return { arrears, wait }
}

describe('arrears of strangers', () => {
  it('are too much after a while in which nothing comes, whatever is said', () => {
    const { arrears, wait } = setUp()
    wait(arrearsMs - 1)
    expect(arrears.isBehind).toBe(false)
    wait(1)
    expect(arrears.isBehind).toBe(true)
  })

  it('never get too much where chunks come in good time, and soon where they trickle', () => {
    const chunk = (arrears: Arrears, isFirst = false, upstreamMs = 0) => {
      for (let part = 0; part < quarters; part++) arrears.came(isFirst && part === 0, upstreamMs)
    }
    const good = setUp()
    good.wait(60_000, enoughMs, () => chunk(good.arrears))
    expect(good.arrears.isBehind).toBe(false)
    const slow = setUp()
    slow.wait(3 * arrearsMs - 1, 4 * enoughMs, () => chunk(slow.arrears))
    expect(slow.arrears.isBehind).toBe(true)
    // Where upstream is as slow, nothing is gained there.
    const thin = setUp()
    thin.wait(60_000, 4 * enoughMs, () => chunk(thin.arrears, false, 4 * enoughMs))
    expect(thin.arrears.isBehind).toBe(false)
  })

  it('are remembered from one blob to the next, and forgotten slowly', () => {
    const { arrears, wait } = setUp()
    wait(arrearsMs)
    arrears.count(false)
    wait(1_000)
    arrears.count(true)
    wait(1_000 / arrearsMemory)
    expect(arrears.isBehind).toBe(true)
    arrears.count(false)
    wait(arrearsMs * arrearsMemory)
    arrears.count(true)
    wait(arrearsMs - 1)
    expect(arrears.isBehind).toBe(false)
  })

  it('are looked at again at a later time, or are too much, however little is missing', () => {
    for (let rank = 0; rank < 1; rank += 0.001) {
      const arrears = new Arrears(NUMBERS, rank)
      let now = 1e9 / 3
      arrears.pass(now)
      arrears.count(true)
      while (!arrears.isBehind) {
        const { wakeAt } = arrears
        expect(wakeAt).toBeGreaterThan(now)
        now = wakeAt
        arrears.pass(now)
      }
    }
  })

  it('do not grow while this node itself does not get to look', () => {
    const { arrears } = setUp()
    for (let now = 5_000; now <= 50_000; now += 5_000) arrears.pass(now)
    expect(arrears.isBehind).toBe(false)
  })
})
