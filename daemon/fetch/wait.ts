import { setTimeout as delay } from 'node:timers/promises'
import { PatienceExceeded, UpstreamError } from '../../proxy/upstream/types.ts'

/**
 * Waits for something that goes on without us.
 * @returns undefined after `ms`
 * @throws the signal's reason when it is aborted, or what the promise is rejected with
 */
export async function waitFor<T>(promise: Promise<T>, ms: number, signal: AbortSignal): Promise<T | undefined> {
  const over = new AbortController()
  const limit = delay(ms, undefined, { signal: AbortSignal.any([signal, over.signal]) })
  // The loser of the race is nobody's concern.
  limit.catch(() => {})
  promise.catch(() => {})
  try {
    return await Promise.race([promise, limit])
  } catch (error) {
    signal.throwIfAborted()
    throw error
  } finally {
    over.abort()
  }
}

/** Asks upstream for no longer than `ms`: one that hangs is as good as one that can't be reached. @throws {UpstreamError} */
export async function withPatience<T>(
  ms: number,
  signal: AbortSignal,
  ask: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const limit = new AbortController()
  const exceeded = new PatienceExceeded(ms)
  const timer = setTimeout(() => limit.abort(exceeded), ms)
  try {
    return await ask(AbortSignal.any([signal, limit.signal]))
  } catch (error) {
    signal.throwIfAborted()
    if (limit.signal.aborted) throw new UpstreamError('unreachable', exceeded.message, { cause: error })
    throw error
  } finally {
    clearTimeout(timer)
  }
}
