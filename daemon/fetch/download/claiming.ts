import type { ClaimAnswer, ClaimWish } from '../../swarm/claim/book.ts'
import { FOLLOW_MS, RENEW_MS, STARVED_MS } from '../../swarm/claim/constants.ts'
import { waitFor } from '../wait.ts'

interface ClaimingOptions {
  readonly ask: (wish: ClaimWish, held: number, signal: AbortSignal) => Promise<ClaimAnswer | undefined>
  /** Chunks that were brought from upstream. */
  readonly held: () => number
  /** Whether upstream is to be asked for more, if the claim is granted. */
  readonly needsUpstream: () => boolean
  /** Whether nobody that is known can bring the blob further at present. */
  readonly isStarved: () => boolean
  /** Whether any peer takes part, or may still do so: it has not said no. */
  readonly hasPeers: () => boolean
  readonly onAnswer: (answer: ClaimAnswer) => void
  readonly onRole: () => void
}

/**
 * This node's part in who fetches one blob from upstream: asks the coordinator again and again, renews what it granted, and
 * gives it back when it is not needed.
 */
export class Claiming {
  readonly #options: ClaimingOptions
  #wake = () => {}
  #role: ClaimAnswer['role'] = 'none'
  #isFirst = true

  constructor(options: ClaimingOptions) {
    this.#options = options
  }

  /** `holder` may fetch all that nobody has, `racer` one chunk, `none` nothing. */
  get role(): ClaimAnswer['role'] {
    return this.#role
  }

  /** Asks again at once: this node has won a race. */
  poke(): void {
    this.#wake()
  }

  /** Asks until the signal is aborted. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await this.#ask(this.#wish(), signal)
      const ms = this.#role !== 'none' ? RENEW_MS : this.#options.isStarved() ? STARVED_MS : FOLLOW_MS
      // No notifier: who waits for one that is seldom told would pile up there.
      const { promise, resolve } = Promise.withResolvers<void>()
      this.#wake = resolve
      await waitFor(promise, ms, signal).catch(() => {})
    }
  }

  /** Tells the coordinator how it ended. */
  async end(wish: 'done' | 'nothing', signal: AbortSignal): Promise<void> {
    this.#role = 'none'
    await this.#options.ask(wish, this.#options.held(), signal).catch(() => undefined)
  }

  #wish(): ClaimWish {
    const { needsUpstream, isStarved, hasPeers } = this.#options
    if (this.#isFirst) return 'if-nobody'
    if (!needsUpstream()) return 'nothing'
    if (this.#role !== 'none') return 'claim'
    if (!isStarved()) return 'nothing'
    // Who has completed it may not be allowed to give it away.
    return hasPeers() ? 'starved' : 'claim'
  }

  async #ask(wish: ClaimWish, signal: AbortSignal): Promise<void> {
    const answer = await this.#options.ask(wish, this.#options.held(), signal)
    // Nobody to say who fetches: better a chunk twice than none. Once somebody has said it, that holds until it is said anew.
    const alone = this.#isFirst ? 'racer' : this.#role
    const role = answer?.role ?? (wish === 'nothing' ? 'none' : alone)
    this.#isFirst = false
    if (answer !== undefined) this.#options.onAnswer(answer)
    if (role === this.#role) return
    this.#role = role
    this.#options.onRole()
  }
}
