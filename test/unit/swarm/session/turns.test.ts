import { expect, it } from 'vitest'
import { MAX_TURNS } from '../../../../daemon/swarm/session/constants.ts'
import { Turns } from '../../../../daemon/swarm/session/turns.ts'

it('who had a turn longer ago comes first, who had none before all; and only so many are remembered', () => {
  const turns = new Turns()
  for (const peer of ['a', 'b', 'a']) turns.take(peer)
  expect(['a', 'b', 'c'].sort((one, other) => turns.lastOf(one) - turns.lastOf(other))).toEqual(['c', 'b', 'a'])
  for (let peer = 0; peer < MAX_TURNS; peer++) turns.take(String(peer))
  expect([turns.lastOf('a'), turns.lastOf('b')]).toEqual([0, 0])
  expect(turns.lastOf('0')).toBeGreaterThan(0)
})
