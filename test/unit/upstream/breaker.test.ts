import type { Dispatcher } from 'undici'
import { expect, test } from 'vitest'
import { Breaker } from '../../../proxy/upstream/breaker.ts'

function brokenSince(offlineFor: number) {
  const clock = { now: 1_000 }
  const breaker = new Breaker(offlineFor, () => clock.now)
  breaker.failed(clock.now)
  return { clock, breaker }
}

test('a registry that was not asked yet is asked', () => {
  expect(new Breaker(100, Date.now).admit()).toBe('pass')
})

test('a registry that was not reached is left alone for the time', () => {
  const { clock, breaker } = brokenSince(100)
  expect(breaker.admit()).toBe('refused')
  clock.now += 99
  expect(breaker.admit()).toBe('refused')
})

test('then one request may try, and the others wait for its result', () => {
  const { clock, breaker } = brokenSince(100)
  clock.now += 100
  expect(breaker.admit()).toBe('probe')
  expect(breaker.admit()).toBe('refused')
  breaker.answered()
  breaker.endProbe()
  expect(breaker.admit()).toBe('pass')
})

test('a try that fails starts the time again', () => {
  const { clock, breaker } = brokenSince(100)
  clock.now += 100
  breaker.admit()
  breaker.failed(clock.now)
  breaker.endProbe()
  expect(breaker.admit()).toBe('refused')
  clock.now += 100
  expect(breaker.admit()).toBe('probe')
})

test('a try that was given up leaves the next one to another', () => {
  const { clock, breaker } = brokenSince(100)
  clock.now += 100
  breaker.admit()
  breaker.endProbe()
  expect(breaker.admit()).toBe('probe')
})

test('one request that hangs while others are answered proves nothing', () => {
  const clock = { now: 1_000 }
  const breaker = new Breaker(100, () => clock.now)
  const began = clock.now
  clock.now += 50
  breaker.answered()
  clock.now += 50
  breaker.failed(began)
  expect(breaker.admit()).toBe('pass')
})

test('a registry that lets a request wait is not away, and is known to be silent until it answers another one', () => {
  const { clock, breaker } = brokenSince(100)
  clock.now += 100
  expect(breaker.admit()).toBe('probe')
  breaker.hung(clock.now, true)
  breaker.endProbe()
  expect(breaker.admit()).toBe('pass')
  expect(breaker.isSilent).toBe(true)
  breaker.answered()
  expect(breaker.isSilent).toBe(false)
})

test('a request that waited while others were answered says nothing, and silence is forgotten', () => {
  const clock = { now: 1_000 }
  const breaker = new Breaker(100, () => clock.now)
  breaker.answered()
  breaker.hung(clock.now - 1, true)
  expect(breaker.isSilent).toBe(false)
  clock.now += 1
  breaker.hung(clock.now, true)
  expect(breaker.isSilent).toBe(true)
  clock.now += 60_000
  expect(breaker.isSilent).toBe(false)
})

test('a request that was given up before it was taken does not bring back a registry that is away', () => {
  const { clock, breaker } = brokenSince(100)
  clock.now += 1
  breaker.hung(clock.now, false)
  expect(breaker.admit()).toBe('refused')
})

test('impatience does not prolong a silence', () => {
  const clock = { now: 1_000 }
  const breaker = new Breaker(100, () => clock.now)
  breaker.hung(clock.now, true)
  for (let second = 0; second < 29; second++) {
    clock.now += 1_000
    breaker.hung(clock.now - 1, false)
    expect(breaker.isSilent).toBe(true)
  }
  clock.now += 1_000
  expect(breaker.isSilent).toBe(false)
})

/** A registry whose root says nothing. */
const mute = {
  pingUrl: new URL('http://127.0.0.1/v2/'),
  idleTimeout: 1_000,
  dispatcherFor: () => ({ dispatch: () => true }) as unknown as Dispatcher,
}

test('a registry whose root does not answer either is silent until it answers', () => {
  const clock = { now: 1_000 }
  const breaker = new Breaker(100, () => clock.now)
  breaker.pulse.doubt(mute, {}, clock.now)
  clock.now += 10_000
  // Nobody has waited in vain yet.
  expect(breaker.isDumb).toBe(false)
  breaker.hung(clock.now - 1, true)
  expect(breaker.isDumb).toBe(true)
  clock.now += 60_000
  expect([breaker.isSilent, breaker.isDumb]).toEqual([true, true])
  breaker.answered()
  expect([breaker.isSilent, breaker.isDumb]).toEqual([false, false])
})

test('a registry whose root answers is silent, and not dumb', () => {
  const clock = { now: 1_000 }
  const breaker = new Breaker(100, () => clock.now)
  breaker.hung(clock.now, true)
  breaker.pulse.doubt(mute, {}, clock.now)
  clock.now += 10_000
  breaker.pulse.felt()
  expect([breaker.isSilent, breaker.isDumb]).toEqual([true, false])
})
