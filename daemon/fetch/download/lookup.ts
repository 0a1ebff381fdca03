import type { PeerId } from '../../swarm/ports.ts'
import { waitFor } from '../wait.ts'
import { LOOKUP_LIMIT_MS, LOOKUP_PAUSE_MS, MAX_LOOKUPS, STEP_MS } from './constants.ts'
import type { Attempt } from './context.ts'

/**
 * Finds the peers that announced a blob, by asking others for their records. The coordinator, which is one of those to whom it is
 * announced, has told them already where it answers: so this is done when nobody else brings the blob further, a few times.
 */
export class Lookup {
  readonly #attempt: Attempt
  readonly #onFound: (peers: readonly PeerId[]) => void
  #lookups = 0
  #isRunning = false

  constructor(attempt: Attempt, onFound: (peers: readonly PeerId[]) => void) {
    this.#attempt = attempt
    this.#onFound = onFound
  }

  /** Whether a lookup has been made, and none is under way. */
  get hasEnded(): boolean {
    return this.#lookups > 0 && !this.#isRunning
  }

  /** Whether there will be no further lookup. */
  get isExhausted(): boolean {
    return this.#lookups >= MAX_LOOKUPS
  }

  /** Runs until the attempt ends. @param isNeeded whether nobody that is known brings the blob further */
  async run(isNeeded: () => boolean): Promise<void> {
    const { signal, changed } = this.#attempt
    while (!signal.aborted && !this.isExhausted) {
      if (isNeeded()) {
        await this.#look()
        await waitFor(new Promise(() => {}), LOOKUP_PAUSE_MS, signal).catch(() => {})
      } else await waitFor(changed.next(signal), STEP_MS, signal).catch(() => {})
    }
  }

  async #look(): Promise<void> {
    const { tools, request, signal, changed } = this.#attempt
    this.#isRunning = true
    const limited = AbortSignal.any([signal, AbortSignal.timeout(LOOKUP_LIMIT_MS)])
    for await (const peer of tools.swarm.providers(request.digest, limited)) this.#onFound([peer])
    this.#lookups++
    this.#isRunning = false
    changed.notify()
  }
}
