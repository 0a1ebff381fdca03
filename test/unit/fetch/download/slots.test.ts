import { expect, it } from 'vitest'
import { Slots } from '../../../../daemon/fetch/download/slots.ts'

it('slots tell how many are usual and how many there are, and call those that wait in their order', () => {
  const slots = new Slots(3, 2)
  const called: string[] = []
  const [first, second, third] = ['first', 'second', 'third'].map((name) => () => void called.push(name))
  slots.take()
  slots.take()
  expect(slots.room).toEqual({ budget: 1, requests: 0, running: 2 })
  slots.take()
  expect(slots.room).toEqual({ budget: 0, requests: -1, running: 3 })
  for (const callback of [first, second, third, first]) slots.whenFree(callback as () => void)
  slots.forget(second as () => void)
  slots.give()
  expect(called).toEqual(['first'])
  slots.callNext()
  expect(called).toEqual(['first', 'third'])
  slots.give()
  slots.give()
  expect(called).toEqual(['first', 'third'])
  expect(slots.room).toEqual({ budget: 3, requests: 2, running: 0 })
})
