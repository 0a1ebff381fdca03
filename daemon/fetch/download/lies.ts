import type { PeerId } from '../../swarm/ports.ts'
import type { ProvenCheckpoints } from '../../verify/checkpoints.ts'
import { TAKE_BACK_MS } from './constants.ts'
import type { View } from './view.ts'

/**
 * What peers have said and sent in one attempt, and who of them lied. Lists are judged at the end, when one is proven: before,
 * an honest peer can pass on a false list, and quarters that fit it, in good faith.
 */
export class Lies {
  /** What each peer has said last. */
  readonly #views = new Map<PeerId, View>()
  /** The quarter with which a peer contradicted its own list, and when; that needs no proof. */
  readonly #contradictions = new Map<View, { readonly quarter: number; readonly at: number }>()

  /** A peer has introduced itself; what it said before, it has taken back. */
  heard(view: View): void {
    this.#views.set(view.peer, view)
  }

  /** A peer sent a quarter that does not fit what it says itself. */
  contradicts(view: View, quarter: number): void {
    this.#contradictions.set(view, { quarter, at: performance.now() })
  }

  /** Whether a peer can have told a wrong size only by lying: it said that it has the whole, and so has proven it. */
  isWhole(peer: PeerId): boolean {
    return this.#views.get(peer)?.isComplete ?? false
  }

  /** Peers that told another size than the one that is proven; an honest one may have passed it on. */
  *ofOtherSize(proven: ProvenCheckpoints | undefined): Generator<PeerId> {
    if (proven === undefined) return
    for (const [peer, { size }] of this.#views) if (size !== proven.size) yield peer
  }

  /**
   * Names those who contradicted themselves and had the time to take back what they had said, each once and with the reason. An
   * attempt may go on for long after that, and the peer be asked for other blobs meanwhile.
   * @param now ms, of `performance.now()`
   * @param stands whether a peer still says what it said; who has left may have taken it back, and is judged at the end
   */
  *caught(now: number, stands: (view: View) => boolean): Generator<[PeerId, string]> {
    if (this.#contradictions.size === 0) return
    for (const [peer, view] of this.#views) {
      const contradiction = this.#contradictions.get(view)
      if (contradiction === undefined || now - contradiction.at < TAKE_BACK_MS || !stands(view)) continue
      this.#views.delete(peer)
      this.#contradictions.delete(view)
      yield [peer, `sent a wrong quarter ${contradiction.quarter}`]
    }
  }

  /**
   * Names the liars, each with the reason.
   * @param proven the right list; undefined where the attempt ended without it
   */
  *judge(proven: ProvenCheckpoints | undefined): Generator<[PeerId, string]> {
    for (const [peer, view] of this.#views) {
      const contradiction = this.#contradictions.get(view)
      // Who took back what it said, with the list, may have sent a quarter of its next one.
      if (proven !== undefined && view.isLie(proven)) yield [peer, 'told false checkpoints']
      else if (contradiction !== undefined) yield [peer, `sent a wrong quarter ${contradiction.quarter}`]
    }
  }
}
