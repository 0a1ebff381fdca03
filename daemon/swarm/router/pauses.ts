import { setTimeout as delay } from 'node:timers/promises'
import { BACKGROUND_SHARE, LONGEST_PAUSE_MS } from './constants.ts'

/** The pauses of a loop that works in the background: they end early when there is something to do, and all with the loop. */
export class Pauses {
  readonly #stopped = new AbortController()
  #woken = new AbortController()

  /** Aborted when the loop is to end. */
  get stopped(): AbortSignal {
    return this.#stopped.signal
  }

  /** Aborted by the next {@link wake}. To be taken before looking for work, so that none is overlooked. */
  get woken(): AbortSignal {
    return this.#woken.signal
  }

  wake(): void {
    this.#woken.abort()
    this.#woken = new AbortController()
  }

  stop(): void {
    this.#stopped.abort()
  }

  /** Waits so many milliseconds, or until one of the signals. */
  async take(ms: number, early: AbortSignal): Promise<void> {
    await delay(ms, undefined, { signal: AbortSignal.any([early, this.#stopped.signal]), ref: false }).catch(() => {})
  }

  /** The pause after a piece of work that began at `started` (performance.now()), so that all of it takes a tenth of a core. */
  async after(started: number, early: AbortSignal): Promise<void> {
    await this.take(Math.min((performance.now() - started) * (BACKGROUND_SHARE - 1), LONGEST_PAUSE_MS), early)
  }
}
