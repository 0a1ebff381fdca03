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

describe('peers that were named for a blob in greater numbers', () => {
  const invented = Array.from({ length: 48 }, (_, number) => `invented ${number}`)

  /** Until when the honest one was told of the blob, in ms, by a node whose upstream is away. */
  function heardAt(isOpen: boolean, giver?: string): number | undefined {
    const scene = new Scene([], {}, undefined, undefined, isOpen)
    scene.step({ kind: 'unreadable', blob: 'b' })
    scene.step({ kind: 'named', blob: 'b', peers: invented.slice(0, 16) })
    scene.step({ kind: 'named', blob: 'b', peers: [...invented.slice(16, 32), 'honest', ...invented.slice(32)] })
    const questions: number[] = []
    const isHeard = () => {
      questions.push(...scene.sent('ask', giver).map(({ id }) => id))
      return scene.said.includes('news to honest')
    }
    if (giver !== undefined && scene.meet(giver, all) && isHeard()) return 0
    for (let now = 0; now < 10_000; now += 100) {
      if (scene.at(now) && isHeard()) return now
      if (now % 400 !== 0 || giver === undefined) continue
      if (scene.bring(giver, questions.shift() ?? 0, now / 400) && isHeard()) return now
    }
    return undefined
  }

  it('keep nobody away who has it: those that give nothing make room', () => {
    expect(heardAt(true)).toBeLessThanOrEqual(4 * NUMBERS.headLateMs)
  })

  it('make no room while the blob comes, nor in a closed swarm', () => {
    expect(heardAt(true, invented[0])).toBeUndefined()
    expect(heardAt(false)).toBeUndefined()
  })

  it('are never more than are sought, and one that gives stays', () => {
    const scene = new Scene([], {}, undefined, undefined, true)
    scene.step({ kind: 'unreadable', blob: 'b' })
    scene.meet('giver', all)
    scene.bring('giver', scene.sent('ask')[0]?.id ?? 0, 0)
    scene.step({ kind: 'named', blob: 'b', peers: invented })
    const neighbours = new Set(['giver', ...invented.slice(0, 15)])
    for (let now = 0; now < 20_000; now += 100) {
      for (const said of scene.at(now) && scene.said) {
        const [, kind, peer = ''] = /^(\w+) to (.*)$/.exec(said) ?? []
        if (kind === 'bye') neighbours.delete(peer)
        else neighbours.add(peer)
      }
      expect(neighbours.size).toBeLessThanOrEqual(NUMBERS.soughtNeighbours)
      expect(neighbours.has('giver')).toBe(true)
    }
  })
})

describe('strangers that give nothing', () => {
  const silent = Array.from({ length: 15 }, (_, number) => `silent ${number}`)

  /** When the one was asked whom chance puts last, in ms, while all others take questions and send nothing. */
  function askedAt(isReadable: boolean): number | undefined {
    const scene = new Scene([], {}, undefined, undefined, true)
    if (!isReadable) scene.step({ kind: 'unreadable', blob: 'b' })
    for (const peer of ['first', 'honest', ...silent]) scene.meet(peer, all)
    for (let now = 0; now < 20_000; now += 50) if (scene.at(now) && scene.asked.includes('honest')) return now
    return undefined
  }

  it.each([true, false])('are tried several at a time (upstream gives it: %s)', (isReadable) => {
    // One after the other they would take seven seconds.
    expect(askedAt(isReadable)).toBeLessThanOrEqual(7 * lateMs)
  })

  it('do not keep this node from trying others by what they have made it used to', () => {
    const scene = new Scene([], {}, undefined, undefined, true)
    scene.step({ kind: 'unreadable', blob: 'b' })
    scene.meet('slow', all)
    const [first] = scene.sent('ask')
    scene.head('slow', first?.id ?? 0, 0)
    for (let part = 0; part <= LAST; part++) {
      scene.now += 1_750
      scene.bytesAt = scene.now
      scene.quarters('slow', first?.id ?? 0, part, part)
    }
    const start = scene.now
    for (const peer of ['as slow', 'also slow']) scene.meet(peer, all)
    scene.meet('other', all)
    expect(scene.asked).toEqual([])
    let at: number | undefined
    for (let ms = 0; ms < 20_000 && at === undefined; ms += 50) {
      scene.bytesAt = start + ms
      if (scene.at(start + ms) && scene.asked.includes('other')) at = ms
    }
    // Both places are taken by slow ones, which are late then.
    expect(at).toBeLessThanOrEqual(2 * lateMs)
  })

  it('are no reason to call one late that gives what its line can carry', () => {
    const scene = new Scene([], { places: 1 }, undefined, undefined, true)
    scene.step({ kind: 'unreadable', blob: 'b' })
    scene.meet('giver', all)
    scene.now = 0.8 * lateMs
    scene.bring('giver', scene.sent('ask')[0]?.id ?? 0, 0)
    const start = scene.now
    scene.meet('other', all)
    const asked: string[] = []
    for (let ms = 0; ms <= 1.5 * lateMs; ms += 50) {
      scene.bytesAt = start + ms
      scene.at(start + ms)
      asked.push(...scene.asked)
    }
    expect(asked).toEqual([])
  })
})

describe('members of a closed swarm that give nothing', () => {
  it('open no places beyond those of a node that begins', () => {
    const scene = new Scene()
    for (let number = 0; number < 8; number++) scene.meet(`silent ${number}`, all)
    let most = 0
    const open = new Set<string>()
    for (let now = 0; now < 10_000; now += 50) {
      for (const said of scene.at(now) && scene.said) {
        const [, kind, peer = ''] = /^(\w+) to (.*)$/.exec(said) ?? []
        if (kind === 'ask') open.add(peer)
        if (kind === 'leave') open.delete(peer)
      }
      most = Math.max(most, open.size)
    }
    expect(most).toBe(NUMBERS.startPlaces)
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
