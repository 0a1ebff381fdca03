import fc from 'fast-check'
import { expect, test } from 'vitest'
import { TransientError } from '../../../proxy/upstream/errors.ts'
import { backoff, parseRetryAfter, retry, type Timing } from '../../../proxy/upstream/retry.ts'
import { UpstreamError } from '../../../proxy/upstream/types.ts'

const now = Date.parse('2026-01-01T00:00:00Z')

const table: readonly [header: string | undefined, expected: number | undefined][] = [
  [undefined, undefined],
  ['', undefined],
  ['0', 0],
  [' 120 ', 120_000],
  ['1.5', undefined],
  ['-1', undefined],
  ['soon', undefined],
  ['Thu, 01 Jan 2026 00:00:05 GMT', 5_000],
  ['Wed, 31 Dec 2025 23:59:00 GMT', 0],
  ['9'.repeat(30), 1e12],
]

test.each(table)('Retry-After: %s', (header, expected) => {
  expect(parseRetryAfter(header, now)).toBe(expected)
})

test('Retry-After never gives a time that is not one', () => {
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.date().map(String)), (header) => {
      expect(parseRetryAfter(header, now) ?? 0).toBeGreaterThanOrEqual(0)
    }),
  )
})

test('back-off grows, with full jitter, up to its limit', () => {
  expect([1, 2, 3, 4, 5, 6, 50].map((failures) => backoff(failures, 1))).toEqual([
    250, 500, 1000, 2000, 4000, 4000, 4000,
  ])
  expect(backoff(3, 0)).toBe(0)
})

/** Time that passes only while somebody sleeps. */
function virtualTiming(): Timing & { readonly slept: number[] } {
  const slept: number[] = []
  const sleep = async (ms: number, signal: AbortSignal): Promise<void> => {
    signal.throwIfAborted()
    slept.push(ms)
  }
  return { slept, sleep, random: () => 1, now: () => slept.reduce((sum, ms) => sum + ms, now) }
}

async function run(attempts: number, failures: readonly Error[]) {
  const timing = virtualTiming()
  let calls = 0
  const outcome = await retry({ attempts: () => attempts, timing, signal: new AbortController().signal }, async () => {
    const failure = failures[calls++]
    if (failure !== undefined) throw failure
    return 'done'
  }).catch((error: unknown) => error)
  return { outcome, calls, slept: timing.slept }
}

const busy = (retryAfter?: number) => new TransientError('rate-limited', 'busy', { retryAfter })

test('what passes is tried again, after growing pauses', async () => {
  expect(await run(4, [busy(), busy()])).toEqual({ outcome: 'done', calls: 3, slept: [250, 500] })
})

test('the last attempt is the last', async () => {
  const failure = busy()
  expect(await run(3, [busy(), busy(), failure])).toMatchObject({ outcome: failure, calls: 3 })
})

test('what does not pass is not tried again', async () => {
  const failure = new UpstreamError('denied', 'no')
  expect(await run(4, [failure])).toEqual({ outcome: failure, calls: 1, slept: [] })
})

test('Retry-After is waited for, with jitter on top', async () => {
  expect(await run(4, [busy(3_000)])).toEqual({ outcome: 'done', calls: 2, slept: [3_250] })
})

test('a Retry-After that is too long is not waited for', async () => {
  expect(await run(4, [busy(60_000)])).toMatchObject({ calls: 1, slept: [] })
})

test('no attempt starts later than 10 s after the first', async () => {
  const { calls, slept } = await run(
    20,
    Array.from({ length: 20 }, () => busy(3_000)),
  )
  expect(calls).toBe(3)
  expect(slept.reduce((sum, ms) => sum + ms)).toBeLessThanOrEqual(10_000)
})

test('a caller that gives up ends the pause', async () => {
  const caller = new AbortController()
  const pausing = retry({ attempts: () => 2, timing: virtualTiming(), signal: caller.signal }, async () => {
    caller.abort()
    throw busy()
  })
  await expect(pausing).rejects.toMatchObject({ code: 'aborted' })
})
