import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { Comeback } from '../../../proxy/upstream/comeback.ts'

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

/** A registry that is asked, and when, in s since it was away. */
function setUp(pause = 5_000) {
  const asked: number[] = []
  const scene = { isBack: false }
  const comeback: Comeback = new Comeback({
    pause,
    ask: async () => {
      asked.push(Math.round((performance.now() - began) / 1000))
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
  comeback.wanted()
  await seconds(40)
  expect(asked).toEqual([5, 15, 35])
  comeback.wanted()
  await seconds(0)
  comeback.wanted()
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
  comeback.wanted()
  await seconds(100)
  expect(asked).toEqual([5])
  comeback.begin()
  comeback.close()
  comeback.begin()
  await seconds(100)
  expect(asked).toEqual([5])
})
