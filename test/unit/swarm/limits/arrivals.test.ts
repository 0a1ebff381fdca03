import { expect, test } from 'vitest'
import { Arrivals } from '../../../../daemon/swarm/limits/arrivals.ts'

const most = 1_000
const perSecond = 30

function scene() {
  let now = 0
  const arrivals = new Arrivals(most, perSecond, () => now)
  /** How many of so many come in. */
  const come = (address: string, count: number) =>
    Array.from({ length: count }, () => arrivals.come(address)).filter(Boolean).length
  const pass = (ms: number) => {
    now += ms
  }
  return { arrivals, come, pass }
}

test('an address of IPv4 has all that there is, and no more', () => {
  const { come, pass } = scene()
  expect(come('10.0.0.1', 2 * most)).toBe(most)
  expect(come('10.0.0.2', 1)).toBe(1)
  pass(1_000)
  expect(come('10.0.0.1', 2 * most)).toBe(perSecond)
})

test('one machine that floods shuts no other one of its network out, however long', () => {
  const { arrivals, come, pass } = scene()
  for (let second = 0; second < 60; second++) {
    expect(come('2001:db8::bad', most)).toBeGreaterThan(0)
    arrivals.charge('2001:db8::bad', 8)
    if (second % 2 === 0) expect(come('2001:db8::1', 1)).toBe(1)
    pass(1_000)
  }
  for (let machine = 2; machine < 200; machine++) expect(come(`2001:db8::${machine}`, 1)).toBe(1)
})

test('machines of one network have all that there is together, and ever new addresses get no more', () => {
  const { come } = scene()
  let came = 0
  for (let machine = 1; machine < 3 * most; machine++) came += come(`2001:db8::${machine.toString(16)}`, 1)
  expect(came).toBe(most)
  expect(come('2001:db8:0:1::1', 1)).toBe(1)
})
