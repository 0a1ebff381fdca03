import { describe, expect, it } from 'vitest'
import { Overdue } from '../../soak/overdue.ts'
import { Troubles } from '../../soak/troubles.ts'

describe('states that have to come back', () => {
  it('are given out once when they are missing for longer than their limit, and again when they were there meanwhile', () => {
    const overdue = new Overdue()
    const told = (now: number, seen?: string) => overdue.told('peers', seen, 30_000, now)
    expect(told(0, 'none')).toBeUndefined()
    expect(told(30_000, 'none')).toBeUndefined()
    expect(told(31_000, 'one')).toEqual({ key: 'peers', since: 31, seen: 'one' })
    expect(told(90_000, 'one')).toBeUndefined()
    expect(told(91_000)).toBeUndefined()
    expect(told(92_000, 'none')).toBeUndefined()
    expect(told(123_000, 'none')).toMatchObject({ since: 31 })
  })

  it('are told from each other', () => {
    const overdue = new Overdue()
    overdue.told('a', 'none', 10, 0)
    expect(overdue.told('b', 'none', 10, 20)).toBeUndefined()
    expect(overdue.told('a', 'none', 10, 20)).toBeDefined()
  })
})

describe('troubles', () => {
  it('last until the last of several faults is over', () => {
    const troubles = new Troubles()
    expect(troubles.wellFor('a', 100)).toBe(Number.POSITIVE_INFINITY)
    troubles.begin('a', 1, 'frozen')
    troubles.begin('a', 2, 'cable out')
    expect(troubles.of('a')).toEqual(['frozen', 'cable out'])
    troubles.end('a', 1, 1_000)
    expect([troubles.wellFor('a', 5_000), troubles.wellFor('b', 5_000)]).toEqual([0, Number.POSITIVE_INFINITY])
    troubles.end('a', 2, 2_000)
    expect(troubles.wellFor('a', 5_000)).toBe(3_000)
  })

  it('say whether somebody had none from some time on, and for a while before', () => {
    const troubles = new Troubles()
    troubles.begin('a', 1, 'frozen')
    troubles.end('a', 1, 10_000)
    const wereWell = (from: number) => troubles.wereWell(['a', 'b'], from, 5_000, 30_000)
    expect([wereWell(14_000), wereWell(15_000)]).toEqual([false, true])
    troubles.begin('b', 2, 'frozen')
    expect(wereWell(15_000)).toBe(false)
  })
})
