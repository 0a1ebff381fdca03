import { expect, it, vi } from 'vitest'
import type { Assembly } from '../../../../daemon/fetch/download/assembly.ts'
import type { Attempt } from '../../../../daemon/fetch/download/context.ts'
import { Lies } from '../../../../daemon/fetch/download/lies.ts'
import { Lists } from '../../../../daemon/fetch/download/lists.ts'
import { View } from '../../../../daemon/fetch/download/view.ts'
import { GrowingCheckpoints } from '../../../../daemon/verify/checkpoints.ts'
import { quarterBytes } from '../../../../daemon/verify/quarter.ts'
import { digestOf } from '../../../../proxy/oci/digest.ts'
import { pseudoRandomBytes } from '../../../fixtures/bytes.ts'

const quarters = 1000
const size = quarters * quarterBytes
const digest = digestOf(Buffer.from('a long list'))
const states = pseudoRandomBytes(32 * (quarters - 1), 'states')

it('a list that grows state by state is compared from where it was, until ours is cut', () => {
  const list = new GrowingCheckpoints(digest, size)
  list.append(states)
  const assembly = { size, list, revision: 0, authorOf: () => 'other' }
  const attempt = { assembly: assembly as unknown as Assembly } as Attempt
  const lists = new Lists({
    attempt,
    lies: new Lies(),
    views: () => [],
    holder: () => undefined,
    onView: () => {},
    onChanged: () => {},
  })
  const view = new View({ peer: 'a', digest, size })
  view.listed(states.subarray(0, 32 * 500), undefined, false)
  view.isUsed = true
  lists.consider(view)
  const compared = vi.spyOn(view.list, 'stateAt')
  for (let state = 500; state < 600; state++) {
    view.listed(states.subarray(32 * state, 32 * (state + 1)), undefined, false)
    lists.consider(view)
  }
  expect(compared.mock.calls.length).toBeLessThan(300)
  assembly.revision++
  compared.mockClear()
  lists.consider(view)
  expect(compared.mock.calls.length).toBeGreaterThan(600)
  view.listed(Buffer.alloc(32, 1), undefined, false)
  lists.consider(view)
  expect(view.isApart).toBe(true)
})
