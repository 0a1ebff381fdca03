import { expect, test } from 'vitest'
import { Habits } from '../../../proxy/upstream/habits.ts'
import { Recent } from '../../../proxy/upstream/recent.ts'

const hour = 3_600_000

test('what was learned is known for an hour, and is news once', () => {
  const clock = { now: 0 }
  const habits = new Habits(() => clock.now)
  expect(habits.has('no-ranges')).toBe(false)
  expect(habits.learn('no-ranges')).toBe(true)
  expect(habits.learn('no-ranges')).toBe(false)
  expect(habits.has('no-ranges')).toBe(true)
  expect(habits.has('wrong-heads')).toBe(false)
  clock.now += hour
  expect(habits.has('no-ranges')).toBe(false)
})

test('what may have been a moment is learned the second time, if that is soon', () => {
  const clock = { now: 0 }
  const habits = new Habits(() => clock.now)
  expect(habits.suspect('no-ranges')).toBe(false)
  clock.now += hour
  expect(habits.suspect('no-ranges')).toBe(false)
  expect(habits.has('no-ranges')).toBe(false)
  // The same moment shows in several requests.
  clock.now += 1
  expect(habits.suspect('no-ranges')).toBe(false)
  clock.now += 60_000
  expect(habits.suspect('no-ranges')).toBe(true)
  expect(habits.has('no-ranges')).toBe(true)
})

test('keys are remembered for a time, the newest of them', () => {
  const clock = { now: 0 }
  const recent = new Recent<true>(10, 2, () => clock.now)
  for (const key of ['a', 'b', 'a', 'c']) recent.set(key, true)
  expect(['a', 'b', 'c'].map((key) => recent.has(key))).toEqual([true, false, true])
  clock.now += 10
  expect(recent.has('c')).toBe(false)
})
