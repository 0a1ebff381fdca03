import { expect, test } from 'vitest'
import { Clock } from '../../../daemon/share/clock.ts'
import { NUMBERS } from '../../../daemon/share/plan/numbers.ts'
import { Silences } from '../../../daemon/share/silences.ts'
import { FakeTime } from '../../fixtures/fake-time.ts'

const { lateMs, patienceMs } = NUMBERS
/** Timers, and the turn in which sockets are read. */
const turn = 5

function setUp() {
  const time = new FakeTime()
  const clock = new Clock()
  const silent: string[] = []
  const silences = new Silences({ clock, numbers: NUMBERS, onSilent: (peer) => silent.push(peer) })
  /** A question that is answered after so many ms. */
  const ask = async (ms: number) => {
    silences.asked('a')
    await time.pass(ms)
    silences.answered('a')
  }
  return { time, clock, silences, silent, ask }
}

test('the first answer is waited for until the next peer can just answer in time, later ones for as long as answers take', async () => {
  const { time, silences, silent, ask } = setUp()
  await ask(patienceMs - lateMs - turn)
  expect([silent, silences.isSilent('a')]).toEqual([[], false])
  for (let round = 0; round < 60; round++) await ask(10)
  silences.asked('a')
  await time.pass(lateMs - turn)
  expect(silent).toEqual([])
  await time.pass(2 * turn)
  expect([silent, silences.isSilent('a')]).toEqual([['a'], true])
  // It is a question of the peer, not of this node.
  silences.asked('b')
  await time.pass(lateMs + turn)
  expect(silent).toEqual(['a'])
  await time.pass(patienceMs - 2 * lateMs)
  expect(silent).toEqual(['a', 'b'])
})

test('a second question does not prolong the first one', async () => {
  const { time, silences, silent } = setUp()
  silences.asked('a')
  await time.pass(1_000)
  silences.asked('a')
  await time.pass(patienceMs - lateMs - 1_000 + turn)
  expect(silent).toEqual(['a'])
})

test('a peer that stays silent is asked ever more seldom, and as any other one once it answers', async () => {
  const { time, silences, silent } = setUp()
  const pauses: number[] = []
  for (let round = 0; round < 4; round++) {
    silences.asked('a')
    await time.pass(patienceMs)
    expect(silent).toHaveLength(round + 1)
    let pause = 0
    for (; silences.isSilent('a'); pause += 10) await time.pass(10)
    pauses.push(pause)
  }
  for (const [index, pause] of pauses.entries())
    if (index > 1) expect(pause).toBeGreaterThan(1.5 * (pauses[index - 1] ?? 0))
  silences.asked('a')
  await time.pass(patienceMs)
  expect(silences.isSilent('a')).toBe(true)
  silences.answered('a')
  expect(silences.isSilent('a')).toBe(false)
})

test('answers that come late make later ones be waited for longer, but never longer than the first', async () => {
  const { time, silences, silent, ask } = setUp()
  for (let round = 0; round < 20; round++) await ask(patienceMs - lateMs + 200)
  await ask(60_000)
  silent.length = 0
  silences.asked('a')
  await time.pass(2 * lateMs)
  expect(silent).toEqual([])
  await time.pass(patienceMs - 3 * lateMs + turn)
  expect(silent).toEqual(['a'])
})

test('a node that is busy blames nobody: what waits in the sockets is heard before', async () => {
  const { time, silences, silent } = setUp()
  silences.asked('a')
  for (let round = 0; round < 10; round++) {
    await time.pass(45)
    time.block(2_000)
  }
  expect(silent).toEqual([])
  await time.pass(patienceMs)
  expect(silent).toEqual(['a'])
  // The last turn takes long, and the answer comes in the one after it.
  silences.left('a')
  silences.asked('a')
  await time.pass(patienceMs - lateMs - 10)
  time.block(2_000)
  setImmediate(() => silences.answered('a'))
  await time.pass(100)
  expect(silent).toEqual(['a'])
})

test('whoever can not be asked is silent at once; whoever comes anew is asked as for the first time', async () => {
  const { time, silences, silent, ask } = setUp()
  silences.failed('a')
  expect([silent, silences.isSilent('a')]).toEqual([['a'], true])
  silences.joined('a')
  expect(silences.isSilent('a')).toBe(false)
  await ask(patienceMs - lateMs - turn)
  silences.left('a')
  silences.asked('a')
  // A second connection is no reason to wait anew, or for ever.
  await time.pass(1_000)
  silences.joined('a')
  await time.pass(patienceMs - lateMs - 1_000 + turn)
  expect(silent).toEqual(['a', 'a'])
  silences.asked('a')
  silences.stop()
  await time.pass(60_000)
  expect(silent).toHaveLength(2)
})
