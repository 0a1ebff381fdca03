import { setTimeout as delay } from 'node:timers/promises'
import type { ClaimWish } from '../../swarm/claim/book.ts'
import { ANSWER_TIMEOUT_MS, STARVED_MS } from '../../swarm/claim/constants.ts'
import { TURN_MS } from './constants.ts'
import type { Attempt } from './context.ts'
import { Patience, type Progress } from './patience.ts'

interface RescueOptions {
  readonly attempt: Attempt
  /** Whether a turn would be of use: upstream has not failed, and something is missing that is not on its way from there. */
  readonly isUseful: () => boolean
  /** Whether what is fetched in a turn is on its way. */
  readonly isFetching: () => boolean
  /** The turn is over: what is fetched after the chunk that arrives at present is not wanted any more. */
  readonly onEnd: () => void
  readonly patience?: Patience
}

/**
 * Upstream for a node to which peers give nothing for long, while another one has the claim. Nodes take turns: if all of a fleet
 * went to upstream at once, each would get its chunks so late that it stayed there, and who has the claim would get next to
 * nothing. A turn is a claim of its own, under another key, so that it is seldom the same node that grants both. It lasts for one
 * request, of {@link Patience.chunks}.
 */
export class Rescue {
  readonly patience: Patience
  readonly #options: RescueOptions
  #turn: AbortController | undefined
  #isGranted = false

  constructor(options: RescueOptions) {
    this.#options = options
    this.patience = options.patience ?? new Patience({ pace: options.attempt.tools.pace })
  }

  /**
   * Whether this node may fetch from upstream, whoever has the claim.
   * @param peers that say what they hold; with none of them there is nothing to wait for
   */
  isGranted(peers: number): boolean {
    return this.patience.isOver && (this.#isGranted || peers === 0 || this.patience.isLongOver)
  }

  /** To be called often. */
  look(progress: Progress): void {
    this.patience.look(progress)
    if (!this.patience.isOver) {
      this.#turn?.abort(new Error('peers bring it further'))
      this.#turn = undefined
    } else if (this.#turn === undefined) {
      this.#turn = new AbortController()
      void this.#run(AbortSignal.any([this.#options.attempt.signal, this.#turn.signal]))
    }
  }

  /** Asks for turns until the signal is aborted. */
  async #run(signal: AbortSignal): Promise<void> {
    const { isUseful } = this.#options
    const pause = (ms: number) => delay(ms, undefined, { signal }).catch(() => {})
    while (!signal.aborted) {
      if (isUseful() && (await this.#asks('starved', signal))) {
        await this.#take(signal)
        await this.#asks('nothing', AbortSignal.timeout(ANSWER_TIMEOUT_MS))
        // Others come first.
        await pause(STARVED_MS * (1 + Math.random()))
      } else await pause(STARVED_MS)
    }
  }

  /** One turn: until what was asked of upstream is there, or this node has had time enough. */
  async #take(signal: AbortSignal): Promise<void> {
    const { attempt, isUseful, isFetching, onEnd } = this.#options
    const until = performance.now() + TURN_MS
    let hasBegun = false
    this.#isGranted = true
    attempt.changed.notify()
    while (!signal.aborted && performance.now() < until) {
      await delay(STARVED_MS, undefined, { signal }).catch(() => {})
      hasBegun ||= isFetching()
      const isOver = !isFetching() && (hasBegun || !isUseful())
      if (isOver || !(await this.#asks('starved', signal))) break
    }
    this.#isGranted = false
    onEnd()
  }

  /** @returns whether it is this node's turn; also where nobody says whose turn it is: better two at once than none */
  async #asks(wish: ClaimWish, signal: AbortSignal): Promise<boolean> {
    const { tools, request } = this.#options.attempt
    const answer = await tools.swarm.claim(`${request.digest} rescue`, { wish, held: 0 }, signal).catch(() => undefined)
    return !signal.aborted && (answer === undefined || answer.role === 'holder')
  }
}
