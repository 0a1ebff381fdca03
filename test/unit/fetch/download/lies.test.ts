import { describe, expect, it } from 'vitest'
import { TAKE_BACK_MS } from '../../../../daemon/fetch/download/constants.ts'
import { Lies } from '../../../../daemon/fetch/download/lies.ts'
import { View } from '../../../../daemon/fetch/download/view.ts'
import { restoreCheckpoints } from '../../../../daemon/verify/checkpoints.ts'
import { quarterBytes } from '../../../../daemon/verify/quarter.ts'
import { stateBytes } from '../../../../daemon/verify/state.ts'
import { digestOf } from '../../../../proxy/oci/digest.ts'

const digest = digestOf(Buffer.from('a blob of five quarters'))
const size = 5 * quarterBytes
/** The four inner states; the numbered ones are false. */
const statesOf = (...wrong: number[]) =>
  Buffer.concat([1, 2, 3, 4].map((index) => Buffer.alloc(stateBytes, wrong.includes(index) ? 0xff : index)))
const all = [0, 1, 2, 3, 4]
const proven = restoreCheckpoints(digest, size, statesOf())

function viewOf(states: Uint8Array, held: readonly number[]): View {
  const view = new View({ peer: 'peer', digest, size })
  view.listed(states, undefined, false)
  for (const quarter of held) view.told(quarter)
  return view
}

function judge(view: View, wrongQuarter?: number, list: typeof proven | undefined = proven): string[] {
  const lies = new Lies()
  lies.heard(view)
  if (wrongQuarter !== undefined) lies.contradicts(view, wrongQuarter)
  return [...lies.judge(list)].map(([, reason]) => reason)
}

describe('who has lied', () => {
  it('is not who told what is right', () => {
    expect(judge(viewOf(statesOf(), all))).toEqual([])
  })

  it('is who says that it has the whole, with false checkpoints', () => {
    expect(judge(viewOf(statesOf(2), all))).toEqual(['told false checkpoints'])
  })

  it('is not who holds quarters that fit a false list, as one does that passes it on', () => {
    expect(judge(viewOf(statesOf(1, 2, 3, 4), [0, 1, 2, 3]))).toEqual([])
    expect(judge(viewOf(statesOf(2), [0, 1, 3, 4]))).toEqual([])
  })

  it('is who says that it has the quarter that nobody can have', () => {
    expect(judge(viewOf(statesOf(2), [2]))).toEqual(['told false checkpoints'])
    expect(judge(viewOf(statesOf(1, 2, 3, 4), [4]))).toEqual(['told false checkpoints'])
  })

  it('is who told the first false state while it had the claim, and not who was told it before', () => {
    const grow = (before: number, ...wrong: number[]) => {
      const view = viewOf(statesOf(...wrong).subarray(0, before * stateBytes), [])
      view.listed(statesOf(...wrong).subarray(before * stateBytes, 3 * stateBytes), undefined, true)
      return judge(view)
    }
    expect(grow(1, 2, 3)).toEqual(['told false checkpoints'])
    expect(grow(2, 2, 3)).toEqual([])
  })

  it('is who sent a quarter that does not fit its own list, also where nothing is proven', () => {
    expect(judge(viewOf(statesOf(), [1]), 1)).toEqual(['sent a wrong quarter 1'])
    expect([...judgeUnproven()]).toEqual(['sent a wrong quarter 1'])
  })

  it('is named once who had the time to take back what contradicts itself, and did not, whatever else goes on', () => {
    const lies = new Lies()
    const view = viewOf(statesOf(), [1])
    lies.heard(view)
    const before = performance.now()
    lies.contradicts(view, 1)
    expect([...lies.caught(before + TAKE_BACK_MS - 1, () => true)]).toEqual([])
    const later = performance.now() + TAKE_BACK_MS
    expect([...lies.caught(later, () => false)]).toEqual([])
    expect([...lies.caught(later, () => true)]).toEqual([['peer', 'sent a wrong quarter 1']])
    expect([...lies.caught(later, () => true), ...lies.judge(proven)]).toEqual([])
  })

  it('is not who has taken back what it said', () => {
    const lies = new Lies()
    const before = viewOf(statesOf(1), [1])
    lies.heard(before)
    lies.contradicts(before, 1)
    lies.heard(viewOf(statesOf(), [1]))
    expect([...lies.caught(performance.now() + TAKE_BACK_MS, () => true)]).toEqual([])
    expect([...lies.judge(proven)]).toEqual([])
  })
})

function judgeUnproven(): string[] {
  const lies = new Lies()
  const view = viewOf(statesOf(3), [1])
  lies.heard(view)
  lies.contradicts(view, 1)
  return [...lies.judge(undefined)].map(([, reason]) => reason)
}
