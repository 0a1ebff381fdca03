import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { SharedQuestions } from '../../../daemon/fetch/shared-questions.ts'

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

const { signal } = new AbortController()

function setUp() {
  const questions = new SharedQuestions<string>()
  const asked: { readonly signal: AbortSignal; readonly resolve: (answer: string) => void }[] = []
  const join = (key = 'key') =>
    questions.join(key, (own) => {
      const { promise, resolve, reject } = Promise.withResolvers<string>()
      own.addEventListener('abort', () => reject(own.reason))
      asked.push({ signal: own, resolve })
      return promise
    })
  return { asked, join }
}

test('all who ask in the same moment share a question, which ends with the last of them', async () => {
  const { asked, join } = setUp()
  const [one, other] = [join(), join()]
  join('other key')
  expect(asked).toHaveLength(2)
  one.leave(false)
  expect(asked[0]?.signal.aborted).toBe(false)
  other.leave(false)
  expect(asked[0]?.signal.aborted).toBe(true)
  // Nobody gets what was given up.
  const next = join()
  expect(asked).toHaveLength(3)
  asked[2]?.resolve('yes')
  expect(await next.toEnd(signal)).toBe('yes')
})

test('one whose answer is of use later goes on, but not for ever', async () => {
  const { asked, join } = setUp()
  join().leave(true)
  expect(asked[0]?.signal.aborted).toBe(false)
  const late = join()
  expect(asked).toHaveLength(1)
  asked[0]?.resolve('late')
  expect(await late.toEnd(signal)).toBe('late')
  join().leave(true)
  expect(asked).toHaveLength(2)
  await vi.advanceTimersByTimeAsync(120_000)
  expect(asked[1]?.signal.aborted).toBe(true)
})

test('no more than a few go on', () => {
  const { asked, join } = setUp()
  for (let number = 0; number < 100; number++) join(`${number}`).leave(true)
  expect(asked.filter((one) => !one.signal.aborted)).toHaveLength(32)
})

test('nobody waits for ever, and each for as long as he likes', async () => {
  const { asked, join } = setUp()
  const asker = join()
  const gone = new AbortController()
  const left = asker.toEnd(gone.signal)
  gone.abort(new Error('he has gone'))
  await expect(left).rejects.toThrow('he has gone')
  expect(asked[0]?.signal.aborted).toBe(false)
  const waiting = expect(asker.toEnd(signal)).rejects.toMatchObject({ code: 'unreachable' })
  await vi.advanceTimersByTimeAsync(120_000)
  await waiting
})
