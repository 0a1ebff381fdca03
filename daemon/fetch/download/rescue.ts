import { setTimeout as delay } from 'node:timers/promises'
import type { ClaimWish } from '../../swarm/claim/book.ts'
import { ANSWER_TIMEOUT_MS, STARVED_MS } from '../../swarm/claim/constants.ts'
import type { PeerId } from '../../swarm/ports.ts'
import { OTHERS_TURN_MS, TURN_MS } from './constants.ts'
import type { Attempt } from './context.ts'
import type { Patience, Progress } from './patience.ts'

interface RescueOptions {
  readonly attempt: Attempt
  readonly patience: Patience
  /** Peers that say what they hold; with none of them there is nothing to wait for. */
  readonly peers: () => number
  /** Whether a turn would be of use: upstream has not failed, and something is missing that is not on its way from there. */
  readonly isUseful: () => boolean
  /** Whether what is fetched in a turn is on its way. */
  readonly isFetching: () => boolean
  /** The turn is over: what is fetched after the chunk that arrives at present is not wanted any more. */
  readonly onEnd: () => void
}

/**
 * Upstream for a node to which peers give nothing for long, while another one has the claim. Nodes take turns: if all of a fleet
 * went to upstream at once, each would get its chunks so late that it stayed there, and who has the claim would get next to
 * nothing. A turn is a claim of its own, under another key, so that it is seldom the same node that grants both. It lasts for one
 * request, of {@link Patience.chunks}.
 */
export class Rescue {
  readonly #options: RescueOptions
  #turn: AbortController | undefined
  #isGranted = false
  /** Whether the one request of this turn was made. */
  #isUsed = false
  /** Which other node has had the turn, and since when. */
  #other: { readonly peer: PeerId | undefined; readonly since: number } | undefined

  constructor(options: RescueOptions) {
    this.#options = options
  }

  /** Whether this node may make a request to upstream, whoever has the claim. */
  get isGranted(): boolean {
    return this.#options.patience.isOver && ((this.#isGranted && !this.#isUsed) || this.#needsNoTurn)
  }

  get #needsNoTurn(): boolean {
    return this.#options.peers() === 0 || this.#options.patience.isLongOver
  }

  /** A request is under way. */
  used(): void {
    this.#isUsed = true
  }

  /** To be called often. */
  look(progress: Progress): void {
    const { patience, attempt, onEnd } = this.#options
    patience.look(progress)
    if (!patience.isOver) {
      if (this.#turn === undefined) return
      this.#turn.abort(new Error('peers bring it further'))
      this.#turn = undefined
      onEnd()
    } else if (this.#turn === undefined) {
      this.#turn = new AbortController()
      void this.#run(AbortSignal.any([attempt.signal, this.#turn.signal]))
    }
  }

  /** Asks for turns until the signal is aborted. */
  async #run(signal: AbortSignal): Promise<void> {
    const { isUseful } = this.#options
    while (!signal.aborted) {
      if (isUseful() && !this.#needsNoTurn && (await this.#asks('starved', signal))) {
        await this.#take(signal)
        await this.#asks('nothing', AbortSignal.timeout(ANSWER_TIMEOUT_MS))
        // Others come first.
        await pause(STARVED_MS * (1 + Math.random()), signal)
      } else await pause(STARVED_MS, signal)
    }
  }

  /** One turn: until what was asked of upstream is there, or this node has had time enough. */
  async #take(signal: AbortSignal): Promise<void> {
    const { attempt, isUseful, isFetching, onEnd } = this.#options
    const until = performance.now() + TURN_MS
    this.#isUsed = false
    this.#isGranted = true
    attempt.changed.notify()
    while (!signal.aborted && performance.now() < until) {
      await pause(STARVED_MS, signal)
      const isOver = this.#isUsed ? !isFetching() : !isUseful()
      if (isOver || !(await this.#asks('starved', signal))) break
    }
    this.#isGranted = false
    onEnd()
  }

  /**
   * @returns whether it is this node's turn; also where nobody says whose turn it is, or another node does not end its own one:
   *   better two at once than none
   */
  async #asks(wish: ClaimWish, signal: AbortSignal): Promise<boolean> {
    const { tools, request } = this.#options.attempt
    const answer = await tools.swarm.claim(`${request.digest} rescue`, { wish, held: 0 }, signal).catch(() => undefined)
    if (signal.aborted) return false
    if (answer === undefined || answer.role === 'holder') {
      this.#other = undefined
      return true
    }
    if (this.#other?.peer !== answer.holder) this.#other = { peer: answer.holder, since: performance.now() }
    return this.#other !== undefined && performance.now() - this.#other.since > OTHERS_TURN_MS
  }
}

/** Ends early, and without an error, when the signal is aborted. */
async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await delay(ms, undefined, { signal }).catch(() => {})
}
