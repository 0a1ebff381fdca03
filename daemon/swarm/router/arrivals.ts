/**
 * Results in the order in which they arrive; those that reject are left out. Ends when all have settled, after `ms`, or with
 * the signal, whatever comes first.
 */
export async function* asTheyArrive<T>(
  promises: readonly Promise<T>[],
  ms: number,
  signal: AbortSignal,
): AsyncGenerator<T, void> {
  const arrived: T[] = []
  let open = promises.length
  let ended = signal.aborted
  let next = Promise.withResolvers<void>()
  const end = () => {
    ended = true
    next.resolve()
  }
  const settled = () => {
    open--
    next.resolve()
  }
  for (const promise of promises) promise.then((value) => arrived.push(value)).then(settled, settled)
  const timer = setTimeout(end, ms)
  signal.addEventListener('abort', end)
  try {
    while (arrived.length > 0 || (open > 0 && !ended)) {
      if (arrived.length === 0) await next.promise
      next = Promise.withResolvers()
      yield* arrived.splice(0)
    }
  } finally {
    clearTimeout(timer)
    signal.removeEventListener('abort', end)
  }
}
