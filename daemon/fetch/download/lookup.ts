import { setTimeout as delay } from 'node:timers/promises'
import type { PeerId } from '../../swarm/ports.ts'
import { LOOKUP_LIMIT_MS, LOOKUP_PAUSE_MS, MAX_LOOKUPS } from './constants.ts'
import type { Attempt } from './context.ts'

/** Finds the peers that announced a blob; again, a few times, while nobody else brings it further. */
export class Lookup {
  readonly #attempt: Attempt
  readonly #onFound: (peer: PeerId, isAwaited: boolean) => void
  #isOver = false
  #hasEnded = false
  #lookups = 0

  /** @param onFound told of each peer, and whether the first lookup found it in time: its answer is waited for */
  constructor(attempt: Attempt, onFound: (peer: PeerId, isAwaited: boolean) => void) {
    this.#attempt = attempt
    this.#onFound = onFound
  }

  /** Whether the first lookup has ended, or has taken as long as it may before upstream is asked. */
  get isOver(): boolean {
    return this.#isOver
  }

  /** Whether the first lookup has ended, or its time is over. */
  get hasEnded(): boolean {
    return this.#hasEnded
  }

  /** Whether there will be no further lookup. */
  get isExhausted(): boolean {
    return this.#lookups >= MAX_LOOKUPS
  }

  /** @param isNeeded whether peers are all that is left to hope for */
  async run(isNeeded: () => boolean): Promise<void> {
    const { tools, request, signal, changed } = this.#attempt
    const timer = setTimeout(() => this.#end(), tools.lookupTimeout)
    for (; this.#lookups < MAX_LOOKUPS && !signal.aborted; this.#lookups++) {
      if (this.#lookups > 0) await delay(LOOKUP_PAUSE_MS, undefined, { signal }).catch(() => {})
      const limited = AbortSignal.any([signal, AbortSignal.timeout(LOOKUP_LIMIT_MS)])
      for await (const peer of tools.swarm.providers(request.digest, limited))
        this.#onFound(peer, this.#lookups === 0 && !limited.aborted)
      this.#hasEnded = true
      this.#end()
      while (!signal.aborted && !isNeeded()) await changed.next(signal).catch(() => {})
    }
    clearTimeout(timer)
  }

  #end(): void {
    this.#isOver = true
    this.#attempt.changed.notify()
  }
}
