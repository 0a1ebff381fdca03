import { describe, expect, it } from 'vitest'
import type { BlobNews, Want } from '../../../../daemon/share/plan/messages.ts'
import { NUMBERS } from '../../../../daemon/share/plan/numbers.ts'
import { all, ask, CHUNKS, LAST, Scene } from './scene.ts'

const { headLateMs, newsMs, patienceMs, renewMs, soughtNeighbours } = NUMBERS

/** A scene without a blob. */
const empty = () => new Scene([], {}, {})

const wishes = ({ wants }: Scene) => wants.map(({ blob, wish }: Want) => `${blob} ${wish}`)

describe('a blob of unknown size', () => {
  const unsized = () => {
    const scene = empty()
    scene.add({ blob: 'b', chunks: undefined, held: [], isWanted: true })
    return scene
  }

  it('is told to the coordinator, and to neighbours as one of which nothing is held', () => {
    const scene = unsized()
    expect(wishes(scene)).toEqual(['b part'])
    scene.turn('none', 0, ['p'])
    expect(scene.sent('news', 'p')[0]?.news.blobs).toEqual([{ blob: 'b', log: [] }])
    scene.meet('q', [])
    expect(scene.sent('news', 'q')[0]?.news.blobs).toEqual([{ blob: 'b', log: [] }])
  })

  it('is read from its first part on, and the read survives the size', () => {
    const scene = unsized()
    expect(scene.turn('head')).toContainEqual({ kind: 'read', blob: 'b', chunk: 0, quarter: 0 })
    expect(scene.step({ kind: 'sized', blob: 'b', chunks: 3, held: [] })).toEqual([])
    expect([scene.read(0), scene.read(1)]).toEqual([[1], [2]])
  })

  it('is asked of those who were neighbours before the size was known', () => {
    const scene = unsized()
    scene.turn('none', 0, ['p'])
    scene.step({ kind: 'sized', blob: 'b', chunks: CHUNKS, held: [] })
    scene.meet('p', [7])
    expect(scene.asked).toEqual(['p'])
  })

  it('is not read on where what is read is held', () => {
    const scene = unsized()
    scene.turn('head')
    const effects = scene.step({ kind: 'sized', blob: 'b', chunks: 3, held: [0, 1] })
    expect(effects.slice(0, 2)).toEqual([
      { kind: 'unread', blob: 'b' },
      { kind: 'read', blob: 'b', chunk: 2, quarter: 0 },
    ])
  })

  it.each([
    ['all is held', 2, [0, 1]],
    ['there is nothing', 0, []],
  ])('is done where %s', (_what, chunks, held) => {
    const scene = unsized()
    scene.turn('head')
    const effects = scene.step({ kind: 'sized', blob: 'b', chunks, held })
    expect(effects).toContainEqual({ kind: 'unread', blob: 'b' })
    expect(wishes(scene)).toEqual(['b done'])
    expect(scene.plan.wakeAt).toBe(Number.POSITIVE_INFINITY)
  })

  it('keeps what could not be verified', () => {
    const scene = unsized()
    scene.turn('head')
    scene.step({ kind: 'raw', blob: 'b', chunk: 0 })
    scene.step({ kind: 'sized', blob: 'b', chunks: 3, held: [] })
    expect(scene.reads).toEqual([1])
  })

  it('has its size once', () => {
    const scene = unsized()
    scene.step({ kind: 'sized', blob: 'b', chunks: 1, held: [0] })
    expect(scene.step({ kind: 'sized', blob: 'b', chunks: 9, held: [] })).toEqual([])
  })
})

describe('a blob that will be wanted soon', () => {
  const ahead = (chunks: number | undefined = CHUNKS) => {
    const scene = empty()
    scene.add({ blob: 'b', chunks, held: [], isWanted: false })
    return scene
  }

  it('is neither asked for nor read, and its neighbours are heard', () => {
    const scene = ahead()
    expect(wishes(scene)).toEqual(['b soon'])
    expect(scene.wants[0]?.sought).toBe(soughtNeighbours)
    scene.turn('none', 0, ['p'])
    expect(scene.said).toEqual(['news to p'])
    scene.meet('p', all)
    expect(scene.turn('head')).toEqual([])
    expect(scene.at(60_000)).toEqual([])
  })

  it('is asked of a neighbour that has it in the moment in which it is wanted', () => {
    const scene = ahead()
    scene.turn('none', 0, ['p'])
    scene.meet('p', all)
    scene.now = 60_000
    scene.step({ kind: 'wanted', blob: 'b' })
    expect(scene.asked).toEqual(['p'])
    // The coordinator hears of it with what else there is to tell.
    expect(wishes(scene)).toEqual([])
    scene.at(60_000 + newsMs)
    expect(wishes(scene)).toEqual(['b part'])
  })

  it('is waited for from then on, and not from before', () => {
    const scene = new Scene([], NUMBERS, {})
    scene.add({ blob: 'b', chunks: 4, held: [], isWanted: false })
    scene.now = 60_000
    scene.step({ kind: 'wanted', blob: 'b' })
    expect(scene.reads).toEqual([])
    scene.at(60_000 + headLateMs)
    expect(wishes(scene)).toEqual(['b hungry'])
    scene.at(60_000 + patienceMs)
    expect(scene.reads).toEqual([0])
  })

  it('may be named in one more image, which may want it', () => {
    const scene = ahead()
    scene.meet('p', all)
    scene.add({ blob: 'b', chunks: CHUNKS, held: [], isWanted: false })
    expect(scene.effects).toEqual([])
    scene.add({ blob: 'b', chunks: CHUNKS, held: [], isWanted: true })
    expect(scene.asked).toEqual(['p'])
    scene.at(newsMs)
    expect(wishes(scene)).toEqual(['b part'])
  })
})

describe('an image', () => {
  const ids = Array.from({ length: 40 }, (_, index) => `b${index}`)
  const image = () => {
    const scene = empty()
    scene.add(...ids.map((blob, index) => ({ blob, chunks: 1, held: index === 0 ? [0] : [], isWanted: index === 1 })))
    return scene
  }

  it('is told of in one message to coordinators', () => {
    const scene = image()
    expect(scene.effects).toHaveLength(1)
    expect(wishes(scene)).toEqual(['b0 done', 'b1 part', ...ids.slice(2).map((blob) => `${blob} soon`)])
  })

  it('is told of in one message to each neighbour that is named', () => {
    const scene = image()
    const turn = { role: 'none', head: undefined, brought: 0, members: ['p', 'q'] } as const
    scene.step(ids.map((blob) => ({ kind: 'turn', turn: { ...turn, blob } })))
    expect(scene.said).toEqual(['news to p', 'news to q'])
    expect(scene.sent('news', 'p')[0]?.news.blobs.map(({ blob }: BlobNews) => blob)).toEqual(ids)
  })

  it('is answered in one message', () => {
    const scene = image()
    const blobs = ids.map((blob) => ({ blob, log: [] }))
    scene.hear('p', { kind: 'news', news: { free: 4, blobs } })
    expect(scene.said).toEqual(['news to p'])
  })

  it('is wanted in one message', () => {
    const scene = image()
    scene.step(ids.map((blob) => ({ kind: 'wanted', blob })))
    expect(scene.effects.map(({ kind }) => kind)).toEqual(['want'])
    expect(wishes(scene)).toEqual(ids.slice(2).map((blob) => `${blob} part`))
  })
})

describe('an idle node', () => {
  it('is never woken: what it holds, or will want soon, is told once', () => {
    const scene = empty()
    scene.add(
      { blob: 'b', chunks: CHUNKS, held: all, isWanted: false },
      { blob: 'c', chunks: 4, held: [], isWanted: false },
    )
    expect(wishes(scene)).toEqual(['b done', 'c soon'])
    scene.meet('p', all)
    scene.meet('q', [])
    for (let wakes = 0; scene.plan.wakeAt < Number.POSITIVE_INFINITY; wakes++) {
      expect(wakes).toBeLessThan(20)
      scene.at(scene.plan.wakeAt)
      expect(scene.effects).toEqual([])
    }
  })

  it('is not woken after a blob is whole', () => {
    const scene = new Scene([], {}, { b: 1 })
    scene.turn('head')
    scene.read(0)
    expect(wishes(scene)).toContain('b done')
    expect(scene.plan.wakeAt).toBeLessThan(Number.POSITIVE_INFINITY)
    for (let wakes = 0; wakes < 20 && scene.plan.wakeAt < Number.POSITIVE_INFINITY; wakes++) scene.at(scene.plan.wakeAt)
    expect(scene.plan.wakeAt).toBe(Number.POSITIVE_INFINITY)
  })

  it('tells that it takes part only of what it wants', () => {
    const scene = new Scene([])
    scene.add({ blob: 'c', chunks: 4, held: [], isWanted: false })
    scene.at(renewMs)
    expect(scene.wants.map(({ blob }) => blob)).toEqual(['b'])
  })
})

describe('a blob that is dropped', () => {
  it.each([
    ['was not done', [], ['b gone']],
    ['was done', all, []],
  ])('is told to the coordinator where it %s', (_what, held, told) => {
    const scene = new Scene(held)
    scene.meet('p', [])
    scene.step({ kind: 'drop', blob: 'b' })
    expect(wishes(scene)).toEqual(told)
    expect(scene.said).toEqual(['bye to p'])
  })

  it('may come again, of another size', () => {
    const scene = new Scene([0])
    scene.meet('p', all)
    scene.step({ kind: 'drop', blob: 'b' })
    scene.add({ blob: 'b', chunks: 2, held: [], isWanted: true })
    scene.meet('p', [1])
    expect(scene.sent('ask', 'p')[0]).toMatchObject({
      news: { blobs: [{ blob: 'b', log: [] }] },
      wishes: [{ first: 0 }],
    })
  })
})

describe('peers that are named', () => {
  it('are told of the blob as if the coordinator had named them, and no more than are sought', () => {
    const scene = new Scene([3])
    const peers = Array.from({ length: 30 }, (_, index) => `p${index}`)
    scene.step({ kind: 'named', blob: 'b', peers })
    expect(scene.sent('news').map(({ news: { blobs } }) => blobs)).toEqual(
      Array.from({ length: soughtNeighbours }, () => [{ blob: 'b', log: [~3] }]),
    )
    expect(scene.step({ kind: 'named', blob: 'b', peers })).toEqual([])
  })
})

describe('a peer that does not fit', () => {
  it('is told so, brings nothing more, and is asked no more for this blob', () => {
    const scene = new Scene()
    scene.meet('p', all)
    scene.head('p', 1, 5)
    scene.step({ kind: 'part', blob: 'b', peer: 'p' })
    expect(scene.said).toEqual(['bye to p'])
    expect(scene.plan.step({ kind: 'quarter', from: 'p', id: 1, quarter: 0 }, 0)).toEqual([])
    expect(scene.plan.partsOf('b', 5)).toBe(0)
    expect(scene.step({ kind: 'part', blob: 'b', peer: 'q' })).toEqual([])
  })
})

describe('a blob that others must not know of', () => {
  const alone = () => {
    const scene = new Scene()
    scene.meet('p', all)
    scene.meet('q', [])
    scene.step({ kind: 'alone', blob: 'b' })
    return scene
  }

  it('is read by this node itself, whatever turns say', () => {
    const scene = alone()
    expect(scene.said).toEqual(['bye to p', 'bye to q'])
    expect(wishes(scene)).toEqual(['b unable'])
    expect(scene.reads).toEqual([0])
    expect(scene.turn('none', 0, ['r'])).toEqual([])
    expect(scene.read(0)).toEqual([1])
  })

  it('is refused to all who come for it', () => {
    const scene = alone()
    expect(scene.meet('r', [])).toEqual([{ kind: 'send', to: 'r', message: { kind: 'bye', blob: 'b' } }])
    scene.hear('q', ask(1))
    expect([...scene.said, ...scene.served]).toEqual(['bye to q'])
    expect(scene.step({ kind: 'named', blob: 'b', peers: ['s'] })).toEqual([])
  })

  it('is told to nobody once it is whole', () => {
    const scene = new Scene([], {}, { b: 1 })
    scene.step({ kind: 'alone', blob: 'b' })
    scene.read(0)
    expect(wishes(scene)).not.toContain('b done')
    expect(scene.plan.partsOf('b', 0)).toBe(NUMBERS.quarters)
    scene.step({ kind: 'drop', blob: 'b' })
    expect(scene.effects).toEqual([])
  })

  it('may be one that is whole', () => {
    const scene = new Scene(all)
    scene.step({ kind: 'alone', blob: 'b' })
    expect(wishes(scene)).toEqual(['b unable'])
    expect(scene.plan.wakeAt).toBe(Number.POSITIVE_INFINITY)
  })
})

describe('what clients wait for', () => {
  it('is asked of a neighbour that has it, beyond the window too', () => {
    const scene = new Scene([], { windowChunks: 8 })
    scene.meet('p', [40])
    expect(scene.asked).toEqual([])
    scene.step({ kind: 'urgent', blob: 'b', chunks: [39, 40] })
    expect(scene.sent('ask', 'p')[0]?.oldest).toEqual({ blob: 'b', from: 40 })
  })

  it('is named in one question at a time, until it is known what comes; then the next one is', () => {
    const scene = new Scene([60])
    scene.step({ kind: 'urgent', blob: 'b', chunks: [40, 41] })
    scene.meet('p', all)
    const first = scene.sent('ask')
    scene.meet('q', all)
    expect([...first, ...scene.sent('ask')].map(({ oldest }) => oldest)).toEqual([{ blob: 'b', from: 40 }, undefined])
    scene.bring('p', 1, 40)
    expect(scene.sent('ask', 'p')[0]?.oldest).toEqual({ blob: 'b', from: 41 })
  })

  it('is not asked of a neighbour without it, which is asked for what it has', () => {
    const scene = new Scene()
    scene.step({ kind: 'urgent', blob: 'b', chunks: [40] })
    scene.meet('p', [1])
    expect(scene.sent('ask', 'p').map(({ oldest }) => oldest)).toEqual([undefined])
  })

  it('goes before what lies before a gap, and is replaced by what is said later', () => {
    const scene = new Scene(all.slice(10, 30))
    scene.step({ kind: 'urgent', blob: 'b', chunks: [40] })
    scene.step({ kind: 'urgent', blob: 'b', chunks: [50] })
    scene.meet('p', all)
    expect(scene.sent('ask', 'p')[0]?.oldest).toEqual({ blob: 'b', from: 50 })
  })

  it('is given first by whoever is asked for it, however many copies there are', () => {
    const scene = new Scene(all)
    scene.meet('p', [])
    scene.meet('q', [40])
    scene.hear('p', ask(1, { coming: [41] }, { oldest: { blob: 'b', from: 40 } }))
    scene.hear('q', ask(1, { coming: [41] }, { oldest: { blob: 'b', from: 40 } }))
    expect(scene.served).toEqual(['42 to q'])
    scene.step({ kind: 'sent', to: 'p', id: 1 })
    expect(scene.hear('p', ask(2, {}, { oldest: { blob: 'b', from: 40 } })) && scene.served).toEqual(['40 to p'])
  })

  it('is the choice of the sender where it has nothing from there on', () => {
    const scene = new Scene([3])
    scene.meet('p', [])
    scene.hear('p', ask(1, {}, { oldest: { blob: 'b', from: 40 } }))
    expect(scene.served).toEqual(['3 to p'])
  })
})

describe('a chunk that can not be verified yet', () => {
  it('is read no more, nor asked for, nor held, nor told, and the next one is read', () => {
    const scene = new Scene()
    scene.turn('head')
    expect(scene.step({ kind: 'raw', blob: 'b', chunk: 0 }) && scene.reads).toEqual([1])
    expect(scene.plan.partsOf('b', 0)).toBe(0)
    scene.meet('p', [0])
    expect(scene.asked).toEqual([])
    expect(scene.sent('news', 'p')[0]?.news.blobs).toEqual([{ blob: 'b', log: [] }])
  })

  it('does not hold the window back', () => {
    const scene = new Scene([], { windowChunks: 2 })
    for (const chunk of [0, 1]) scene.step({ kind: 'raw', blob: 'b', chunk })
    scene.meet('p', [3])
    expect(scene.sent('ask', 'p')[0]?.wishes).toMatchObject([{ first: 2, coming: [] }])
  })

  it('is held when it is verified', () => {
    const scene = new Scene([], {}, { b: 2 })
    scene.turn('head')
    scene.step({ kind: 'raw', blob: 'b', chunk: 0 })
    expect(scene.read(0)).toEqual([])
    expect(scene.plan.partsOf('b', 0)).toBe(NUMBERS.quarters)
    scene.read(1)
    expect(wishes(scene)).toContain('b done')
  })

  it('is the one chunk of a race', () => {
    const scene = new Scene()
    scene.turn('racer')
    expect(scene.step({ kind: 'raw', blob: 'b', chunk: 0 }) && scene.reads).toEqual([])
  })
})

describe('parts that upstream sends unasked', () => {
  it('are held in order, and the read under way goes on', () => {
    const scene = new Scene([0, 1])
    scene.turn('head')
    expect(scene.reads).toEqual([2])
    expect(scene.read(7)).toEqual([])
    scene.step({ kind: 'read', blob: 'b', chunk: 9, quarter: 1 })
    expect([scene.plan.partsOf('b', 7), scene.plan.partsOf('b', 9)]).toEqual([NUMBERS.quarters, 0])
    expect(scene.read(2)).toEqual([3])
  })

  it('end answers that bring the same chunk, and do not end a race', () => {
    const scene = new Scene([60])
    scene.meet('p', [5], 4)
    scene.head('p', 1, 5)
    scene.turn('racer')
    const effects = Array.from({ length: LAST + 1 }, (_, quarter) =>
      scene.step({ kind: 'read', blob: 'b', chunk: 5, quarter }),
    ).flat()
    expect(effects).toContainEqual({ kind: 'send', to: 'p', message: { kind: 'leave', id: 1 } })
    expect(effects.some(({ kind }) => kind === 'unread')).toBe(false)
  })

  it('are of no blob, or lie beyond it, without harm', () => {
    const scene = new Scene()
    expect(scene.step({ kind: 'read', blob: 'x', chunk: 0, quarter: 0 })).toEqual([])
    expect(scene.step({ kind: 'read', blob: 'b', chunk: CHUNKS, quarter: 0 })).toEqual([])
  })
})

describe('upstream that gives a blob again', () => {
  it('is read when it is this node’s turn, and not because nothing has come before', () => {
    const scene = new Scene([], NUMBERS)
    scene.step({ kind: 'unreadable', blob: 'b' })
    scene.at(60_000)
    scene.step({ kind: 'readable', blob: 'b' })
    expect(wishes(scene)).toEqual(['b part'])
    expect(scene.reads).toEqual([])
    expect(scene.turn('head') && scene.reads).toEqual([0])
    expect(scene.step({ kind: 'readable', blob: 'b' })).toEqual([])
  })
})

describe('a neighbour that rests', () => {
  it('is asked again in time, although nothing happens', () => {
    const scene = new Scene()
    scene.meet('p', all, 0)
    expect(scene.plan.wakeAt).toBe(headLateMs)
    scene.at(headLateMs)
    expect(scene.asked).toEqual(['p'])
  })
})
