import { setTimeout as delay } from 'node:timers/promises'
import { abortedError, TransientError } from './errors.ts'

/** Time and chance, so that tests can do without waiting. */
export interface Timing {
  /** ms since the epoch. */
  now(): number
  /** From 0 up to 1. */
  random(): number
  /** @throws the signal's reason when it is aborted first */
  sleep(ms: number, signal: AbortSignal): Promise<void>
}

/** Its clock never steps, so that setting the system's clock back makes no pause last for hours. */
export const systemTiming: Timing = {
  now: () => performance.timeOrigin + performance.now(),
  random: Math.random,
  sleep: (ms, signal) => delay(ms, undefined, { signal }),
}

/** No attempt starts later than this after the first, in ms: clients wait 30 s for a first byte at most. */
const retryBudget = 10_000

/** The first back-off is up to this long, in ms; each following one up to twice as long as the one before. */
const backoffBase = 250
const backoffLimit = 4_000

/**
 * Exponential back-off with full jitter.
 * @param failures how often it failed, from 1
 * @returns ms
 */
export function backoff(failures: number, random: number): number {
  return Math.min(backoffLimit, backoffBase * 2 ** (failures - 1)) * random
}

const maxRetryAfterSeconds = 1e9

/**
 * Reads `Retry-After` (RFC 9110, 10.2.3): seconds or a date.
 * @returns ms from now, never negative; undefined where it is neither
 */
export function parseRetryAfter(header: string | undefined, now: number): number | undefined {
  const text = header?.trim() ?? ''
  if (/^\d+$/.test(text)) return Math.min(Number(text), maxRetryAfterSeconds) * 1000
  // A date of HTTP begins with the name of the day. Date.parse alone would take "1.5" for one.
  const date = /^[A-Za-z]{3}/.test(text) ? Date.parse(text) : Number.NaN
  return Number.isNaN(date) ? undefined : Math.max(0, date - now)
}

/**
 * Repeats an operation while it throws {@link TransientError}: at most `attempts` times, and only as long as the next
 * attempt would start within 10 s. A longer `Retry-After` is not waited for.
 */
export async function retry<T>(
  options: {
    readonly attempts: (error: TransientError) => number
    readonly timing: Timing
    readonly signal: AbortSignal
  },
  operation: () => Promise<T>,
): Promise<T> {
  const { attempts, timing, signal } = options
  const began = timing.now()
  for (let attempt = 1; ; attempt++) {
    try {
      return await operation()
    } catch (error) {
      if (!(error instanceof TransientError) || attempt >= attempts(error)) throw error
      // Jitter on top of Retry-After, or all who were told the same second come back in it.
      const wait = (error.retryAfter ?? 0) + backoff(attempt, timing.random())
      if (timing.now() - began + wait > retryBudget) throw error
      await pause(wait, timing, signal)
    }
  }
}

/** @throws {UpstreamError} aborted */
export async function pause(ms: number, timing: Timing, signal: AbortSignal): Promise<void> {
  try {
    await timing.sleep(ms, signal)
  } catch {
    throw abortedError(signal)
  }
}
