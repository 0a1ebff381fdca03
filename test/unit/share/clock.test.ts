import { expect, test } from 'vitest'
import { Clock } from '../../../daemon/share/clock.ts'
import { FakeTime } from '../../fixtures/fake-time.ts'

test('wakes each at its time, once, in place of the time that was set before', async () => {
  const time = new FakeTime()
  const clock = new Clock()
  const since = clock.now
  const woken: [string, number][] = []
  const note = (name: string) => () => void woken.push([name, clock.now - since])
  const [a, b, c] = [note('a'), note('b'), note('c')]
  clock.wake(a, since + 300)
  clock.wake(b, since + 120)
  clock.wake(c, since + 10)
  clock.wake(a, since + 200)
  clock.wake(c, Number.POSITIVE_INFINITY)
  await time.pass(1_000)
  expect(woken).toEqual([
    ['b', 120],
    ['a', 200],
  ])
  clock.wake(b, since)
  await time.pass(1)
  expect(woken.map(([name]) => name)).toEqual(['b', 'a', 'b'])
  clock.wake(a, clock.now + 10)
  clock.stop()
  await time.pass(100)
  expect(woken).toHaveLength(3)
})

test('what a turn of the event loop takes longer than it was to take does not count, and time never goes back', async () => {
  const time = new FakeTime()
  const clock = new Clock()
  const since = clock.now
  let last = since
  const elapsed = () => {
    expect(clock.now).toBeGreaterThanOrEqual(last)
    last = clock.now
    return last - since
  }
  let isWoken = false
  clock.wake(() => {
    isWoken = true
  }, since + 200)
  await time.pass(10)
  expect(elapsed()).toBe(10)
  time.block(5_000)
  // The timer was to end after 20 ms.
  expect(elapsed()).toBe(20)
  // Something else is to happen meanwhile, which must not make up for it.
  clock.wake(() => {}, clock.now + 5)
  time.block(3_000)
  await time.pass(1)
  expect(elapsed()).toBeLessThan(40)
  await time.pass(150)
  expect([elapsed() < 200, isWoken]).toEqual([true, false])
  await time.pass(40)
  expect(isWoken).toBe(true)
})

test('nothing is waited for: time counts as it is, as nobody is judged', async () => {
  const time = new FakeTime()
  const clock = new Clock()
  const since = clock.now
  time.block(5_000)
  expect(clock.now - since).toBe(5_000)
})
