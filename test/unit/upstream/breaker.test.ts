import type { Dispatcher } from 'undici'
import { expect, test } from 'vitest'
import { Breaker } from '../../../proxy/upstream/breaker.ts'

function setUp() {
  const clock = { now: 1_000 }
  const told: string[] = []
  const comeback = {
    isAway: false,
    begin: () => {
      comeback.isAway = true
      told.push('begin')
    },
    wanted: async (): Promise<void> => void told.push('wanted'),
    end: () => {
      comeback.isAway = false
      told.push('end')
    },
  }
  return {
    clock,
    told,
    comeback,
    breaker: new Breaker(() => clock.now, comeback),
    signal: new AbortController().signal,
  }
}

function broken() {
  const scene = setUp()
  scene.breaker.failed(scene.clock.now)
  return scene
}

test('a registry that was not asked yet is asked', async () => {
  const { breaker, signal } = setUp()
  expect(await breaker.admit(signal)).toBe(true)
})

test('a registry that was not reached is left alone until it answers, however long that takes', async () => {
  const { clock, breaker, told, signal } = broken()
  expect(await breaker.admit(signal)).toBe(false)
  clock.now += 3_600_000
  expect(await breaker.admit(signal)).toBe(false)
  breaker.answered()
  expect(await breaker.admit(signal)).toBe(true)
  expect(told).toEqual(['begin', 'wanted', 'wanted', 'end'])
})

test('it is told once that a registry is away', () => {
  const { clock, breaker } = setUp()
  expect([breaker.failed(clock.now), breaker.failed(clock.now)]).toEqual([true, false])
  breaker.answered()
  clock.now++
  expect(breaker.failed(clock.now)).toBe(true)
})

test('one request that hangs while others are answered proves nothing', async () => {
  const { clock, breaker, signal } = setUp()
  const began = clock.now
  clock.now += 50
  breaker.answered()
  clock.now += 50
  breaker.failed(began)
  expect(await breaker.admit(signal)).toBe(true)
})

test('a registry that lets a request wait is not away, and is known to be silent until it answers another one', async () => {
  const { clock, breaker, signal } = broken()
  clock.now += 100
  breaker.hung(clock.now, true)
  expect(await breaker.admit(signal)).toBe(true)
  expect(breaker.isSilent).toBe(true)
  breaker.answered()
  expect(breaker.isSilent).toBe(false)
})

test('a request that waited while others were answered says nothing, and silence is forgotten', () => {
  const { clock, breaker } = setUp()
  breaker.answered()
  breaker.hung(clock.now - 1, true)
  expect(breaker.isSilent).toBe(false)
  clock.now += 1
  breaker.hung(clock.now, true)
  expect(breaker.isSilent).toBe(true)
  clock.now += 60_000
  expect(breaker.isSilent).toBe(false)
})

test('a request that was given up before it was taken does not bring back a registry that is away', async () => {
  const { clock, breaker, signal } = broken()
  clock.now += 1
  breaker.hung(clock.now, false)
  expect(await breaker.admit(signal)).toBe(false)
})

test('impatience does not prolong a silence', () => {
  const { clock, breaker } = setUp()
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
  const { clock, breaker } = setUp()
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
  const { clock, breaker } = setUp()
  breaker.hung(clock.now, true)
  breaker.pulse.doubt(mute, {}, clock.now)
  clock.now += 10_000
  breaker.pulse.felt()
  expect([breaker.isSilent, breaker.isDumb]).toEqual([true, false])
})

test('a registry that answers a question while somebody waits for it is asked', async () => {
  const { breaker, comeback, signal } = broken()
  comeback.wanted = async () => void breaker.answered()
  expect(await breaker.admit(signal)).toBe(true)
})

test('a registry that nobody wanted for long is asked by the next request', async () => {
  const { breaker, comeback, signal, clock } = broken()
  comeback.end()
  expect(await breaker.admit(signal)).toBe(true)
  expect(breaker.failed(clock.now)).toBe(true)
})

test('whoever has waited for a while only does not keep others from waiting for as long as content takes', () => {
  const { clock, breaker } = setUp()
  breaker.pulse.doubt(mute, {}, clock.now)
  clock.now += 6_000
  breaker.hung(clock.now - 5_000, false)
  expect([breaker.isSilent, breaker.isDumb]).toEqual([true, false])
  clock.now += 3_000
  expect(breaker.isDumb).toBe(false)
  breaker.hung(clock.now - 5_000, true)
  expect(breaker.isDumb).toBe(true)
})

test('a registry whose root says nothing for long answers nobody, however soon those lost patience who asked it', () => {
  const { clock, breaker } = setUp()
  breaker.pulse.doubt(mute, {}, clock.now)
  clock.now += 10_000
  breaker.hung(clock.now - 5_000, false)
  expect(breaker.isDumb).toBe(true)
})
