import { expect, it } from 'vitest'
import { Pauses } from '../../../proxy/upstream/pauses.ts'

it('keeps away for as long as was asked, a minute at most, from that one only', () => {
  let now = 0
  const pauses = new Pauses(() => now)
  pauses.begin('a', 5_000)
  pauses.begin('b', 3_600_000)
  expect([pauses.left('a'), pauses.left('b'), pauses.left('c')]).toEqual([5_000, 60_000, 0])
  now = 5_000
  expect([pauses.left('a'), pauses.left('b')]).toEqual([0, 55_000])
  for (let index = 0; index < 1_000; index++) pauses.begin(String(index), 1_000)
  expect(pauses.left('b')).toBe(0)
})
