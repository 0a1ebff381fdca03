import { describe, expect, it } from 'vitest'
import { NUMBERS } from '../../../../daemon/share/plan/numbers.ts'
import { Plan } from '../../../../daemon/share/plan/plan.ts'
import { all, ask, LAST, Scene } from './scene.ts'

const { lateMs } = NUMBERS

describe('a coordinator', () => {
  it('that counts up and down again keeps nobody from reading for good', () => {
    const scene = new Scene([], { patienceMs: 2_000 })
    const reads: number[] = []
    for (let now = 0; now < 20_000; now += 1_000) {
      scene.at(now)
      reads.push(...scene.reads)
      scene.turn('none', 0)
      scene.turn('none', 1)
    }
    expect(reads).not.toEqual([])
  })
})

describe('a neighbour', () => {
  it('that sends parts that are of no use keeps nobody from reading upstream for good', () => {
    const scene = new Scene([], { patienceMs: 2_000 })
    scene.meet('n', all)
    const reads: number[] = []
    const questions = scene.sent('ask').map(({ id }) => id)
    const note = () => {
      reads.push(...scene.reads)
      questions.push(...scene.sent('ask').map(({ id }) => id))
    }
    for (let now = 100; now < 30_000; now += 100) {
      scene.bytesAt = now
      scene.at(now)
      note()
      const id = questions.shift() ?? 0
      scene.head('n', id, 0, LAST)
      note()
      scene.step({ kind: 'quarter', from: 'n', id, quarter: LAST })
      note()
    }
    expect(reads).not.toEqual([])
  })

  it('that has everything and never a free place is waited for once', () => {
    const scene = new Scene([], NUMBERS)
    scene.meet('liar', all, 0)
    scene.turn('head')
    const readsAt: number[] = []
    let read: number | undefined
    for (let now = 100; now < 40_000 && readsAt.length < 5; now += 100) {
      scene.now = now
      scene.meet('liar', all, 0)
      read = scene.reads[0] ?? read
      if (read === undefined) continue
      readsAt.push(now)
      const other = 32 + readsAt.length
      ;[read] = scene.read(read)
      // Another one gives something: then nothing was quiet.
      scene.meet('honest', [other])
      read = scene.reads[0] ?? read
      const [question] = scene.sent('ask', 'honest')
      if (question !== undefined) scene.bring('honest', question.id, other)
      read = scene.reads[0] ?? read
    }
    expect(readsAt).toHaveLength(5)
    expect(readsAt.at(-1)).toBeLessThan(7_000)
  })

  it('that refuses with a cut what it has not begun is not asked again at once', () => {
    const scene = new Scene()
    scene.meet('n', all)
    const [question] = scene.sent('ask')
    scene.hear('n', { kind: 'cut', id: question?.id ?? 0 })
    expect(scene.asked).toEqual([])
  })

  it('brings chunks of blobs in which it takes part only', () => {
    const scene = new Scene([], {}, { b: 64, c: 64 })
    const entry = { free: 4, blobs: [{ blob: 'c', log: [~0] }] }
    scene.hear('n', { kind: 'news', news: entry })
    const [question] = scene.sent('ask')
    const nothing = { free: 4, blobs: [] }
    scene.hear('n', { kind: 'head', id: question?.id ?? 0, blob: 'b', chunk: 5, quarter: 0, news: nothing })
    expect(scene.sent('leave')).toHaveLength(1)
  })

  it('that parts from one blob brings what it was asked for of another one', () => {
    const scene = new Scene([], {}, { b: 64, c: 64 })
    const blobs = ['b', 'c'].map((blob) => ({ blob, log: [~0] }))
    scene.hear('n', { kind: 'news', news: { free: 4, blobs } })
    const [question] = scene.sent('ask')
    const id = question?.id ?? 0
    scene.hear('n', { kind: 'bye', blob: 'c' })
    // It has not heard of a leave, and answers.
    expect(scene.sent('leave')).toEqual([])
    scene.bring('n', id, 0)
    expect(scene.plan.partsOf('b', 0)).toBe(NUMBERS.quarters)
  })

  it('that waits for the rest of a chunk is told when its reader has stopped', () => {
    const scene = new Scene()
    scene.turn('head')
    scene.step({ kind: 'read', blob: 'b', chunk: 0, quarter: 0 })
    scene.hear('n', ask(1))
    expect(scene.served).toEqual(['0 to n'])
    scene.step({ kind: 'unreadable', blob: 'b' })
    expect(scene.sent('cut', 'n')).toHaveLength(1)
  })
})

describe('a node that is behind in an open swarm', () => {
  /** It waits for two blobs that a neighbour says to have, until it reads. */
  function setUp() {
    const scene = new Scene([], {}, { b: 64, c: 64 }, undefined, true)
    scene.meet('liar', all)
    for (let now = 0; scene.reads.length === 0 && now < 10_000; now += 50) scene.at(now)
    return scene
  }

  it('races for one chunk at a time, whatever the coordinator says', () => {
    const scene = setUp()
    expect(scene.reads).toEqual([0])
    for (const brought of [0, 1, 2]) {
      scene.now += 50
      expect(scene.turn('none', brought).filter(({ kind }) => kind === 'read' || kind === 'unread')).toEqual([])
    }
  })

  it('takes the chunk from a neighbour that is faster, and counts that as what upstream takes at least', () => {
    const scene = setUp()
    scene.now += 20_000
    scene.meet('honest', [0])
    const [question] = scene.sent('ask', 'honest')
    const effects = scene.bring('honest', question?.id ?? 0, 0)
    const next = effects.flatMap((effect) =>
      effect.kind === 'send' && effect.to === 'honest' && effect.message.kind === 'ask' ? [effect.message.id] : [],
    )
    expect(effects.filter(({ kind }) => kind === 'unread')).toHaveLength(1)
    scene.meet('honest', [1])
    const asked = [...next, ...scene.sent('ask', 'honest').map(({ id }) => id)].at(-1)
    scene.bring('honest', asked ?? 0, 1)
    expect(scene.plan.partsOf('b', 1)).toBe(NUMBERS.quarters)
    // One such chunk is worth more than all arrears.
    for (const end = scene.now + NUMBERS.arrearsMs - 50; scene.now < end; ) scene.at(scene.now + 50)
    expect(scene.plan.isBehind).toBe(false)
  })
})

describe('those that trickle', () => {
  it('do not keep this node from asking others', () => {
    const scene = new Scene(all.slice(0, 8))
    // Eight of them have all; each brings a byte now and then.
    for (let one = 0; one < 8; one++) scene.meet(`t${one}`, all)
    let chunk = 20
    const answer = () => {
      for (const effect of [...scene.effects])
        if (effect.kind === 'send' && effect.message.kind === 'ask' && effect.to.startsWith('t'))
          scene.head(effect.to, effect.message.id, chunk++)
    }
    const asked: string[] = []
    for (const id of ['t0', 't1', 't2', 't3', 't4', 't5', 't6', 't7']) scene.meet(id, [])
    for (let now = 0; now <= 60_000; now += 100) {
      scene.bytesAt = now
      scene.at(now)
      asked.push(...scene.asked)
      answer()
      if (now === 5_000) {
        scene.meet('honest', all)
        asked.push(...scene.asked)
      }
    }
    expect(asked).toContain('honest')
  })
})

describe('time', () => {
  it('that has come has come', () => {
    const missed: number[] = []
    for (let rank = 0; rank < 1; rank += 0.0137) {
      const plan = new Plan({ numbers: NUMBERS, random: () => rank, lastByteAt: () => Number.NEGATIVE_INFINITY })
      const start = 1_234.567_89
      plan.step({ kind: 'blobs', blobs: [{ blob: 'b', chunks: 64, held: [], isWanted: true }] }, start)
      plan.step({ kind: 'named', blob: 'b', peers: ['a', 'c', 'd'] }, start)
      let isRead = false
      for (let left = 4; left > 0 && !isRead; left--) {
        const at = plan.wakeAt
        const due = start + NUMBERS.patienceMs + rank * 3 * lateMs
        isRead = plan.step({ kind: 'wake' }, at).some(({ kind }) => kind === 'read')
        if (at >= due && !isRead) missed.push(rank)
      }
    }
    expect(missed).toEqual([])
  })
})
