import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { Comeback } from '../../../proxy/upstream/comeback.ts'

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

const { signal } = new AbortController()

/** A registry that is asked, and when, in s since it was away. */
function setUp(pause = 5_000) {
  const asked: number[] = []
  /** How long it takes for an answer, in ms. */
  const scene = { isBack: false, takes: 0 }
  const comeback: Comeback = new Comeback({
    pause,
    ask: async (limit) => {
      asked.push(Math.round((performance.now() - began) / 1000))
      if (scene.takes > 0) {
        await new Promise((resolve, reject) => {
          setTimeout(resolve, scene.takes)
          limit.addEventListener('abort', () => reject(limit.reason))
        })
      }
      if (!scene.isBack) throw new Error('it is away')
      comeback.end()
    },
  })
  const began = performance.now()
  comeback.begin()
  return { comeback, asked, scene }
}

const seconds = (count: number) => vi.advanceTimersByTimeAsync(count * 1_000)

test('a registry that is away is asked again with longer and longer pauses, up to a minute, until it answers', async () => {
  const { asked, scene } = setUp()
  await seconds(200)
  expect(asked).toEqual([5, 15, 35, 75, 135, 195])
  scene.isBack = true
  await seconds(600)
  expect(asked).toEqual([5, 15, 35, 75, 135, 195, 255])
})

test('whoever wants it has it asked at once, but not a moment after it was asked', async () => {
  const { comeback, asked } = setUp()
  await seconds(3)
  void comeback.wanted(signal)
  await seconds(40)
  expect(asked).toEqual([5, 15, 35])
  void comeback.wanted(signal)
  await seconds(0)
  void comeback.wanted(signal)
  await seconds(1)
  expect(asked).toEqual([5, 15, 35, 43])
})

test('a new network has it asked at once, and begins with short pauses again', async () => {
  const { comeback, asked } = setUp()
  await seconds(76)
  comeback.wayMayBeOpen()
  await seconds(16)
  expect(asked).toEqual([5, 15, 35, 75, 76, 81, 91])
})

test('what is not away is not asked, and nothing is after the end', async () => {
  const { comeback, asked, scene } = setUp()
  scene.isBack = true
  await seconds(5)
  comeback.wayMayBeOpen()
  void comeback.wanted(signal)
  await seconds(100)
  expect(asked).toEqual([5])
  comeback.begin()
  comeback.close()
  comeback.begin()
  await seconds(100)
  expect(asked).toEqual([5])
})

test('whoever wants it waits for the answer to a question that is under way, for a moment', async () => {
  const { comeback, scene } = setUp()
  const told: string[] = []
  const want = (name: string) => void comeback.wanted(signal).then(() => told.push(`${name} ${comeback.isAway}`))
  await seconds(46)
  Object.assign(scene, { isBack: true, takes: 500 })
  want('first')
  want('second')
  await seconds(0.4)
  expect(told).toEqual([])
  await seconds(0.1)
  expect(told).toEqual(['first false', 'second false'])
})

test('nobody waits for a question for long, nor when he has gone, nor for one that was asked a while ago', async () => {
  const { comeback, scene } = setUp()
  await seconds(46)
  scene.takes = 9_000
  const told: string[] = []
  const gone = new AbortController()
  void comeback.wanted(gone.signal).then(() => told.push('gone'))
  void comeback.wanted(signal).then(() => told.push('first'))
  await seconds(0.5)
  gone.abort()
  await seconds(0)
  expect(told).toEqual(['gone'])
  await seconds(0.5)
  expect(told).toEqual(['gone', 'first'])
  await seconds(1)
  await comeback.wanted(signal)
})

test('a new network has it asked anew where it was asked by a way that is gone', async () => {
  const { comeback, asked, scene } = setUp()
  scene.takes = 60_000
  await seconds(6)
  Object.assign(scene, { isBack: true, takes: 100 })
  comeback.wayMayBeOpen()
  await seconds(1)
  expect(asked).toEqual([5, 6])
  expect(comeback.isAway).toBe(false)
})

test('after ten minutes in which nobody wanted it, it is not asked any more until somebody does, who waits a moment', async () => {
  const { comeback, asked, scene } = setUp()
  await seconds(500)
  void comeback.wanted(signal)
  await seconds(660)
  const { length } = asked
  await seconds(3_600)
  expect(asked).toHaveLength(length)
  // Its packets get lost: nobody waits for a time-out once more.
  scene.takes = 5_000
  let isOver = false
  void comeback.wanted(signal).then(() => (isOver = true))
  await seconds(1)
  expect([isOver, comeback.isAway]).toEqual([true, true])
  await seconds(300)
  expect(asked.length).toBeGreaterThan(length + 1)
  await seconds(3_600)
  Object.assign(scene, { isBack: true, takes: 500 })
  void comeback.wanted(signal)
  await seconds(0.5)
  expect(comeback.isAway).toBe(false)
})
