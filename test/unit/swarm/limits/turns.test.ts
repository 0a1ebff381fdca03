import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { Turns } from '../../../../daemon/swarm/limits/turns.ts'

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

/** @param count peers that read on as soon as they may, each time for `ms` */
function flooded(turns: Turns, count: number, ms: number, allowance = 0, name = 'flooder'): number[] {
  const read = Array.from({ length: count }, () => 0)
  const go = (peer: number) => {
    turns.spend(`${name} ${peer}`, ms)
    read[peer] = (read[peer] ?? 0) + ms
    if (turns.mustWait(`${name} ${peer}`))
      turns.wait(
        () => allowance - (read[peer] ?? 0),
        () => go(peer),
      )
    else setTimeout(() => go(peer))
  }
  for (let peer = 0; peer < count; peer++) go(peer)
  return read
}

const sum = (all: readonly number[]) => all.reduce((one, other) => one + other, 0)

test('many that take much leave most of the time, and take turns', () => {
  const turns = new Turns({ remembered: 100 })
  const read = flooded(turns, 8, 30)
  vi.advanceTimersByTime(60_000)
  // A tenth of the time, and what each may take without a turn.
  expect(sum(read)).toBeLessThan(0.1 * 60_000 + 8 * (100 + 0.01 * 60_000) + 1_000)
  expect(sum(read)).toBeGreaterThan(0.09 * 60_000)
  expect(Math.max(...read) - Math.min(...read)).toBeLessThanOrEqual(60)
})

test('one that takes little never waits, and one that takes much meanwhile gets its part', () => {
  const turns = new Turns({ remembered: 100 })
  flooded(turns, 8, 30)
  const announced = flooded(turns, 1, 16, 1_500, 'announcer')
  let waited = 0
  for (let second = 0; second < 60; second++) {
    vi.advanceTimersByTime(1_000)
    turns.spend('honest', 9)
    if (turns.mustWait('honest')) waited++
    if (second === 9) expect(sum(announced)).toBeGreaterThan(420)
  }
  expect(waited).toBe(0)
})

test('alone it waits for nothing but the time that all may take', () => {
  const turns = new Turns({ remembered: 100 })
  const read = flooded(turns, 1, 16)
  vi.advanceTimersByTime(5_000)
  expect(sum(read)).toBeGreaterThan(420)
})

test('what was earned is taken without a turn', () => {
  const turns = new Turns({ remembered: 100 })
  flooded(turns, 8, 30)
  for (let moved = 0; moved < 1_000; moved++) {
    turns.earn('partner', 1)
    turns.spend('partner', 1)
    expect(turns.mustWait('partner')).toBe(false)
  }
})
