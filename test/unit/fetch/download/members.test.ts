import { expect, it } from 'vitest'
import { ANSWER_MS, MAX_PEERS, PROVIDER_ANSWER_MS } from '../../../../daemon/fetch/download/constants.ts'
import { Members } from '../../../../daemon/fetch/download/members.ts'

it('wait longer for one that was found than for one that was only named, though it was named before', () => {
  const members = new Members()
  members.meet('peer', false, MAX_PEERS, 0)
  expect([members.isUndecided(1), members.isUndecided(ANSWER_MS)]).toEqual([true, false])
  expect(members.awaitsAnswer(1)).toBe(false)
  expect(members.meet('peer', true, MAX_PEERS, 10)).toBeUndefined()
  expect([members.awaitsAnswer(ANSWER_MS), members.awaitsAnswer(PROVIDER_ANSWER_MS)]).toEqual([true, false])
})

it('are met once, up to a limit, and not again soon after they have left', () => {
  const members = new Members()
  const one = members.meet('one', false, 2, 0)
  if (one === undefined) throw new Error('it was not met')
  expect(members.meet('one', false, 2, 1)).toBeUndefined()
  expect(members.meet('two', false, 2, 1)).toBeDefined()
  expect(members.meet('three', false, 2, 1)).toBeUndefined()
  members.leave(one, 2)
  expect(members.includes(one)).toBe(false)
  expect(members.meet('one', false, 2, 3)).toBeUndefined()
  expect(members.meet('three', false, 2, 3)).toBeDefined()
  // What it says anew counts all the same, where there is room.
  expect(members.readmit(one)).toBe(true)
  expect(members.readmit(one)).toBe(false)
})
