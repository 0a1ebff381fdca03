import { expect, onTestFinished, test } from 'vitest'
import { Clock } from '../../../daemon/share/clock.ts'
import { Coordinators } from '../../../daemon/share/coordinators.ts'
import type { Turn, Want } from '../../../daemon/share/plan/messages.ts'
import { NUMBERS } from '../../../daemon/share/plan/numbers.ts'
import { digestOf } from '../../../proxy/oci/digest.ts'
import { FakeTime } from '../../fixtures/fake-time.ts'

const blob = digestOf(Buffer.from('a blob'))
const part: Want = { blob, brought: 0, wish: 'part', sought: 3 }

/** The node `self`, of which the test plays all others. */
function setUp(order: readonly string[]) {
  const time = new FakeTime()
  const told: string[] = []
  const heard: string[] = []
  const state = { order, unreachable: '' }
  const coordinators = new Coordinators({
    clock: new Clock(),
    self: () => 'self',
    numbers: NUMBERS,
    coordination: {
      coordinators: async () => state.order,
      announced: async () => [],
      tell: async (peer, message) => {
        if (peer === state.unreachable) throw new Error('it is not there')
        const { wants = [], turns = [] } = message as { wants?: Want[]; turns?: Turn[] }
        for (const { role, head } of turns) told.push(`${peer}: ${role} ${head}`)
        for (const { wish, brought } of wants) told.push(`${peer} ${wish}${brought > 0 ? ` ${brought}` : ''}`)
      },
    },
    onTurns: (turns) => heard.push(...turns.map(({ role, head }) => `${role} ${head}`)),
  })
  onTestFinished(() => coordinators.stop())
  const answer = (peer: string, role: Turn['role'], head: string) =>
    coordinators.heard(peer, { kind: 'turns', turns: [{ blob, role, head, brought: 0, members: [head] }] })
  const want = async (wish: Want) => {
    coordinators.want([wish])
    await time.pass(1)
  }
  /** What was said since the last time. */
  const said = () => [told.splice(0), heard.splice(0)]
  return { time, state, coordinators, answer, want, said }
}

test('a coordinator that answers late is followed, and the one that was asked meanwhile is left', async () => {
  const { time, answer, want, said } = setUp(['near', 'far', 'farther'])
  await want(part)
  await time.pass(1_400)
  expect(said()).toEqual([['near part'], []])
  await time.pass(200)
  answer('far', 'head', 'self')
  expect(said()).toEqual([['far part'], ['head self']])
  answer('near', 'none', 'another')
  await time.pass(1)
  expect(said()).toEqual([['far gone'], ['none another']])
  answer('far', 'head', 'self')
  await want({ ...part, brought: 2 })
  expect(said()).toEqual([['near part 2'], []])
})

test('the word of the one farther away counts while the nearer one is silent, and it hears that a blob is done', async () => {
  const { time, answer, want, said } = setUp(['near', 'far', 'farther'])
  await want(part)
  await time.pass(1_600)
  answer('far', 'head', 'self')
  await want({ ...part, brought: 4 })
  expect(said()).toEqual([['near part', 'far part', 'far part 4'], ['head self']])
  await want({ ...part, wish: 'done', brought: 5 })
  expect(said()[0]?.toSorted()).toEqual(['far done 5', 'near done 5'])
  // Nobody takes part, so nobody is to be asked.
  await time.pass(10_000)
  answer('near', 'none', 'another')
  await time.pass(1)
  expect(said()).toEqual([[], ['none another']])
})

test('when a nearer coordinator comes it is told, and the former one left as soon as it answers', async () => {
  const { time, state, coordinators, answer, want, said } = setUp(['old', 'other'])
  await want(part)
  answer('old', 'head', 'self')
  await want({ ...part, brought: 3 })
  said()
  state.order = ['new', 'old', 'other']
  coordinators.joined('new')
  coordinators.joined('nobody of interest')
  await time.pass(1)
  expect(said()).toEqual([['new part 3'], []])
  answer('old', 'head', 'self')
  answer('new', 'none', 'another')
  await time.pass(1)
  expect(said()).toEqual([['old gone'], ['head self', 'none another']])
})

test('one that does not answer leaves all as it was', async () => {
  const { time, state, coordinators, answer, want, said } = setUp(['old', 'other'])
  await want(part)
  answer('old', 'head', 'self')
  state.order = ['new', 'old', 'other']
  coordinators.joined('new')
  await time.pass(2_000)
  expect(said()).toEqual([['old part', 'new part'], ['head self']])
  answer('old', 'none', 'another')
  expect(said()).toEqual([[], ['none another']])
})

test('when the coordinator leaves, or can not be told, the next one is told at once; what ended is not told again', async () => {
  const { time, state, coordinators, answer, want, said } = setUp(['first', 'second', 'third'])
  await want(part)
  answer('first', 'none', 'another')
  state.order = ['second', 'third']
  state.unreachable = 'second'
  coordinators.left('first')
  await time.pass(1)
  expect(said()).toEqual([['first part', 'third part'], ['none another']])
  answer('first', 'head', 'self')
  answer('second', 'head', 'self')
  expect(said()).toEqual([[], []])
  await want({ ...part, wish: 'gone' })
  state.order = ['fourth']
  coordinators.left('third')
  coordinators.joined('fourth')
  await time.pass(5_000)
  expect(said()).toEqual([['third gone'], []])
})

test('a node that coordinates a blob itself follows a nearer one that comes, and grants itself no turn any more', async () => {
  const { time, state, coordinators, answer, want, said } = setUp(['self'])
  await want(part)
  expect(said()).toEqual([[], ['head self', 'head self']])
  state.order = ['near', 'self']
  coordinators.joined('near')
  await time.pass(1)
  answer('near', 'none', 'another')
  await time.pass(1)
  expect(said()).toEqual([['near part'], ['none another']])
  // Another one that still asks this node is the only one in its queue.
  coordinators.heard('asker', { kind: 'wants', wants: [part] })
  await time.pass(3_000)
  expect(said()).toEqual([['asker: head asker', 'asker: head asker'], []])
})

test('a turn that nobody waits for any more is asked of nobody else', async () => {
  const { time, state, coordinators, said } = setUp(['near', 'far'])
  const abort = new AbortController()
  const turn = coordinators.turn(blob, 'part', abort.signal)
  await time.pass(1)
  abort.abort()
  expect(await turn).toBeUndefined()
  state.order = ['new', 'near']
  coordinators.joined('new')
  await time.pass(5_000)
  expect(said()).toEqual([['near part'], []])
  coordinators.want([{ ...part, wish: 'gone' }])
  await time.pass(1)
  expect(said()[0]?.toSorted()).toEqual(['near gone', 'new gone'])
})

test('more blobs than a message takes are told in several', async () => {
  const { time, coordinators, said } = setUp(['near'])
  const wants = Array.from({ length: 1_030 }, (_, index) => ({ ...part, blob: digestOf(Buffer.from(`${index}`)) }))
  coordinators.want(wants)
  await time.pass(1)
  expect(said()[0]).toHaveLength(1_030)
})
