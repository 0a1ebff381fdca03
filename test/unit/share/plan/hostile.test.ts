import { describe, expect, it } from 'vitest'
import { NUMBERS } from '../../../../daemon/share/plan/numbers.ts'
import { cpuTime } from '../../../fixtures/cpu.ts'
import { all, ask, CHUNKS, news, Scene } from './scene.ts'

const MOST = 2 ** 32 - 1
const free = { free: 4, blobs: [] }

describe('a hostile neighbour', () => {
  it.each([
    ['begun', [CHUNKS, MOST, 2 ** 31]],
    ['whole', [-1 - CHUNKS, -1 - MOST, -1 - 2 ** 31]],
  ])('that has %s what lies beyond the blob is not asked for it', (_what, log) => {
    const scene = new Scene()
    scene.hear('p', { kind: 'news', news: { free: MOST, blobs: [{ blob: 'b', log }] } })
    expect(scene.asked).toEqual([])
    expect(scene.turn('head') && scene.reads).toEqual([0])
  })

  it('gets none for wishes without sense', () => {
    const scene = new Scene(all)
    scene.meet('p', [])
    const many = Array.from({ length: 50_000 }, (_, index) => index)
    const wishes = [
      { first: MOST },
      { coming: many },
      { broken: new Map(all.map((chunk) => [chunk, MOST])) },
      { first: CHUNKS, late: many },
    ]
    for (const [index, wish] of wishes.entries()) {
      scene.hear('p', ask(index, wish, { oldest: { blob: 'b', from: MOST } }))
      expect(scene.said).toEqual(['none to p'])
    }
    expect(scene.hear('p', ask(9, {}, { oldest: { blob: 'x', from: 0 } })) && scene.served).toEqual(['0 to p'])
  })

  it('that repeats a wish is answered as soon as one that does not', () => {
    const scene = new Scene(all)
    scene.meet('p', [])
    const [wish] = ask(1, { coming: all }).wishes
    const repeated = Array.from({ length: 100_000 }, () => wish ?? expect.fail())
    const took = cpuTime(() => void scene.hear('p', { ...ask(1), wishes: repeated }))
    expect(scene.said).toEqual(['none to p'])
    expect(took).toBeLessThan(500)
  })

  it('that repeats questions has one answer at a time, and one question that waits', () => {
    const scene = new Scene(all)
    scene.meet('p', [])
    const served = Array.from({ length: 100 }, () => scene.hear('p', ask(1)) && scene.served.length)
    expect(served.reduce((sum, count) => sum + count, 0)).toBe(1)
    scene.step({ kind: 'sent', to: 'p', id: 1 })
    expect(scene.served).toHaveLength(1)
    scene.step({ kind: 'sent', to: 'p', id: 1 })
    expect(scene.served).toEqual([])
  })

  it('that answers what was not asked is not heard', () => {
    const scene = new Scene()
    scene.meet('p', all, 0)
    for (const id of [0, 1, MOST]) {
      expect(
        scene.hear('p', { kind: 'head', id, blob: 'b', chunk: 0, quarter: 0, news: { free: 0, blobs: [] } }),
      ).toEqual([])
      expect(scene.hear('p', { kind: 'cut', id })).toEqual([])
      expect(scene.hear('p', { kind: 'none', id, news: { free: 0, blobs: [] } })).toEqual([])
      expect(scene.hear('p', { kind: 'leave', id })).toEqual([])
    }
  })

  it.each([
    ['a chunk that is held', 60, 0],
    ['a chunk beyond the blob', MOST, 0],
    ['a part beyond the chunk', 5, MOST],
  ])('that always answers with %s wins no time by that', (_what, chunk, quarter) => {
    const scene = new Scene([60], { places: 1 })
    scene.meet('p', all)
    let asks = 1
    for (let ms = 10; ms < 60_000; ms += 10) {
      scene.at(ms)
      asks += scene.asked.length
      if (scene.asked.length > 0 || ms < 1_000) asks += scene.head('p', asks, chunk, quarter) && scene.asked.length
    }
    // One every 10 ms would be 6,000.
    expect(asks).toBeLessThan(400)
    scene.meet('q', all)
    expect(scene.asked).toEqual(['q'])
  })

  it.each(['cut', 'none', 'busy'] as const)('that says %s after each head is asked after a rest only', (kind) => {
    const scene = new Scene()
    scene.meet('p', all)
    scene.head('p', 1, 5)
    scene.hear('p', kind === 'cut' ? { kind, id: 1 } : { kind, id: 1, news: free })
    expect(scene.asked).toEqual([])
    scene.meet('p', all)
    expect(scene.asked).toEqual([])
    scene.at(NUMBERS.lateMs)
    expect(scene.asked).toEqual(['p'])
  })

  it('that comes back is believed no more than before', () => {
    const scene = new Scene()
    scene.meet('p', all)
    scene.at(NUMBERS.lateMs)
    expect(scene.sent('leave', 'p')).toHaveLength(1)
    scene.hear('p', { kind: 'bye', blob: 'b' })
    scene.meet('p', all)
    expect(scene.asked).toEqual([])
    expect(scene.turn('head') && scene.reads).toEqual([0])
    scene.step({ kind: 'left', peer: 'p' })
    scene.meet('p', all)
    expect(scene.asked).toEqual([])
  })

  it('that has everything and never a free place keeps nobody from reading upstream for good', () => {
    const scene = new Scene([], NUMBERS)
    const reads: number[] = []
    scene.meet('p', all, 0)
    expect(scene.turn('head') && scene.reads).toEqual([])
    for (let ms = 100; ms < 30_000; ms += 100) {
      scene.now = ms
      scene.meet('p', all, 0)
      for (let [chunk] = scene.reads; chunk !== undefined; [chunk] = scene.read(chunk)) reads.push(chunk)
    }
    expect(reads).toEqual(all)
  })

  it('that tells of thousands of blobs is refused some of them, and leaves nothing behind', () => {
    const scene = new Scene()
    const blobs = Array.from({ length: 10_000 }, (_, index) => ({ blob: `x${index}`, log: [0] }))
    scene.hear('p', { kind: 'news', news: { free: 4, blobs } })
    expect(scene.sent('bye').length).toBeLessThan(1_000)
    expect(scene.hear('p', ask(1))).toContainEqual({
      kind: 'send',
      to: 'p',
      message: { kind: 'none', id: 1, news: expect.anything() },
    })
  })

  it('that names one blob many times is one neighbour, answered once', () => {
    const scene = new Scene()
    const blobs = Array.from({ length: 1_000 }, () => ({ blob: 'b', log: [] }))
    scene.hear('p', { kind: 'news', news: { free: 0, blobs } })
    expect(scene.said).toEqual(['news to p'])
  })

  it('that comes and goes under many names takes no more room', () => {
    const scene = new Scene(all, { places: 1 })
    scene.meet('p', [])
    scene.hear('p', ask(1))
    for (let index = 0; index < 2_000; index++) {
      scene.meet(`s${index}`, [])
      scene.hear(`s${index}`, ask(1))
      expect(scene.said).toContain(`busy to s${index}`)
      scene.hear(`s${index}`, { kind: 'bye', blob: 'b' })
    }
    // The place that is free again is told to somebody who still waits for it, not to those.
    scene.meet('q', [])
    scene.hear('q', ask(1))
    scene.step({ kind: 'sent', to: 'p', id: 1 })
    expect(scene.said).toEqual(['news to q'])
  })

  it('makes no step of an idle node cause another one', () => {
    const scene = new Scene(all)
    const messages = [
      { kind: 'news', news: news(all, MOST) },
      ask(MOST),
      { kind: 'leave', id: MOST },
      { kind: 'bye', blob: 'b' },
      { kind: 'bye', blob: 'x' },
    ] as const
    for (let round = 0; round < 100; round++) for (const message of messages) scene.hear('p', message)
    for (let wakes = 0; scene.plan.wakeAt < Number.POSITIVE_INFINITY; wakes++) {
      expect(wakes).toBeLessThan(20)
      scene.at(scene.plan.wakeAt)
    }
  })
})
