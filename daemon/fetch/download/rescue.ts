import { setTimeout as delay } from 'node:timers/promises'
import type { ClaimWish } from '../../swarm/claim/book.ts'
import { ANSWER_TIMEOUT_MS, RENEW_MS, STARVED_MS } from '../../swarm/claim/constants.ts'
import type { Attempt } from './context.ts'
import { Patience, type Progress } from './patience.ts'

interface RescueOptions {
  readonly attempt: Attempt
  /** Chunks that came from upstream. */
  readonly held: () => number
  readonly patience?: Patience
}

/**
 * Upstream for a node to which peers give nothing for long, while another one has the claim. Nodes take turns: if all of a fleet
 * went to upstream at once, each would get its chunks so late that it stayed there, and who has the claim would get next to
 * nothing. A turn is a claim of its own, under another key, so that it is seldom the same node that grants both.
 */
export class Rescue {
  readonly patience: Patience
  readonly #attempt: Attempt
  readonly #held: () => number
  #turn: AbortController | undefined
  #isGranted = false

  constructor({ attempt, held, patience = new Patience({ pace: attempt.tools.pace }) }: RescueOptions) {
    this.#attempt = attempt
    this.#held = held
    this.patience = patience
  }

  /** Whether this node may fetch from upstream, whoever has the claim. */
  get isGranted(): boolean {
    return this.patience.isOver && (this.#isGranted || this.patience.isLongOver)
  }

  /** To be called often. */
  look(progress: Progress): void {
    this.patience.look(progress)
    if (!this.patience.isOver) {
      this.#turn?.abort(new Error('peers bring it further'))
      this.#turn = undefined
    } else if (this.#turn === undefined) {
      this.#turn = new AbortController()
      void this.#run(AbortSignal.any([this.#attempt.signal, this.#turn.signal]))
    }
  }

  /** Asks for a turn until the signal is aborted, and gives it back then. */
  async #run(signal: AbortSignal): Promise<void> {
    const { tools, request, changed } = this.#attempt
    const key = `${request.digest} rescue`
    const ask = (wish: ClaimWish, limit: AbortSignal) =>
      tools.swarm.claim(key, { wish, held: this.#held() }, limit).catch(() => undefined)
    while (!signal.aborted) {
      const answer = await ask(this.#isGranted ? 'claim' : 'if-nobody', signal)
      if (signal.aborted) break
      // Nobody to say whose turn it is: better two at once than none.
      const isGranted = answer?.role !== 'none'
      if (isGranted !== this.#isGranted) changed.notify()
      this.#isGranted = isGranted
      await delay(isGranted ? RENEW_MS : STARVED_MS, undefined, { signal }).catch(() => {})
    }
    this.#isGranted = false
    await ask('nothing', AbortSignal.timeout(ANSWER_TIMEOUT_MS))
  }
}
