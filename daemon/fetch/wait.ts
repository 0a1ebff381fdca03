import { PatienceExceeded, type Upstream, UpstreamError } from '../../proxy/upstream/types.ts'

/**
 * Waits for something that goes on without us.
 * @returns undefined after `ms`
 * @throws the signal's reason when it is aborted, or what the promise is rejected with
 */
export async function waitFor<T>(promise: Promise<T>, ms: number, signal: AbortSignal): Promise<T | undefined> {
  // The loser of the race is nobody's concern.
  promise.catch(() => {})
  signal.throwIfAborted()
  // Neither a composite signal nor an abort: this is called thousands of times a second.
  const { promise: limit, resolve, reject } = Promise.withResolvers<undefined>()
  const onAbort = () => reject(signal.reason)
  const timer = setTimeout(() => resolve(undefined), ms)
  signal.addEventListener('abort', onAbort, { once: true })
  limit.catch(() => {})
  try {
    return await Promise.race([promise, limit])
  } finally {
    clearTimeout(timer)
    signal.removeEventListener('abort', onAbort)
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

/** The share of its patience that a registry gets which answers nothing at present. */
const silentShare = 0.2

/** How long a registry is waited for where there may be another answer. @param patience for one that answers, in ms @returns ms */
export function patienceWith(upstream: Pick<Upstream, 'isSilent'>, registry: string, patience: number): number {
  return upstream.isSilent(registry) ? patience * silentShare : patience
}
