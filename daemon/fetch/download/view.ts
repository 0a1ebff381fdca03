import type { Digest } from '../../../proxy/oci/digest.ts'
import type { PeerId } from '../../swarm/ports.ts'
import { Bitfield } from '../../verify/bitfield.ts'
import { firstDivergence } from '../../verify/check-quarter.ts'
import { type Checkpoints, GrowingCheckpoints, type ProvenCheckpoints } from '../../verify/checkpoints.ts'
import { sameState } from '../../verify/state.ts'

/** With what a peer introduces itself. */
export interface Told {
  readonly held: Bitfield
  readonly states: Uint8Array
  readonly isComplete: boolean
}

interface ViewOptions extends Told {
  readonly peer: PeerId
  readonly digest: Digest
  /** Bytes. */
  readonly size: number
}

/**
 * What a peer says of a blob, from one introduction to the next. An honest peer's view is of one piece: what it holds fits the
 * list that it tells. When it finds that its list was false, it takes all back and introduces itself anew.
 */
export class View {
  readonly peer: PeerId
  readonly size: number
  /** The checkpoints that it has told. */
  readonly list: GrowingCheckpoints
  /** What it holds, without what it turned out not to give. */
  readonly held: Bitfield
  /** Whether it says that it has all, and so that it has proven its list. */
  readonly isComplete: boolean
  /** Whether its content may be used: it has answered, and who asked for the blob may have it. */
  isUsed = false
  /** Its list is not ours at present, so its quarters would not fit. */
  isApart = false
  /** It contradicts itself, or what upstream sends: nothing of it is used any more. */
  isRefuted = false
  /** So many states are known to be those of our list, at one revision of it. */
  agreed = { revision: -1, states: 0 }
  /** Whatever it said that it holds. */
  readonly #claimed: Bitfield
  /** The states that it told one after the other while it had the claim. */
  #grown = { from: 1, to: 0 }

  /** @throws {RangeError} where the parts do not match */
  constructor({ peer, digest, size, held, states, isComplete }: ViewOptions) {
    this.peer = peer
    this.size = size
    this.list = new GrowingCheckpoints(digest, size)
    if (states.length > 0) this.list.append(states)
    this.held = held
    this.isComplete = isComplete
    this.#claimed = Bitfield.decode(held.encode(), held.length)
  }

  get isListComplete(): boolean {
    return this.list.known === this.list.quarters - 1
  }

  /** Whether quarters are asked of the peer. */
  get isFollowed(): boolean {
    return this.isUsed && !this.isApart && !this.isRefuted
  }

  claims(quarter: number): boolean {
    return this.isComplete || this.#claimed.has(quarter)
  }

  /** It says more. @param isHolder whether it fetches from upstream, as the coordinator says @throws {RangeError} */
  got(quarters: readonly number[], states: Uint8Array, isHolder: boolean): void {
    const before = this.list.known
    if (states.length > 0) this.list.append(states)
    for (const quarter of quarters) if (quarter < this.list.quarters) this.#claimed.set(quarter)
    if (this.list.known === before) return
    // What completes a list may have come from somebody who told a complete one.
    if (!isHolder || this.isListComplete) return
    this.#grown = { from: this.#grown.to === before ? this.#grown.from : before + 1, to: this.list.known }
  }

  /** Whether it tells the same states `from` and `to`. */
  agrees(list: Checkpoints, from: number, to: number): boolean {
    return this.size === list.size && [from, to].every((index) => isSame(this.list, list, index))
  }

  /**
   * Whether only a liar can have said this of a blob, now that its checkpoints are proven. An honest peer may pass on a false
   * list, but it holds no quarter that nobody can have: the one that would lead from a false state to a right one. And what it
   * tells state by state while it has the claim comes from upstream.
   */
  isLie(proven: ProvenCheckpoints): boolean {
    if (this.size !== proven.size) return this.isComplete
    const differs = firstDivergence(this.list, proven)
    if (differs === undefined) return false
    const first = differs + 1
    if (this.isComplete || (this.#grown.from <= first && first <= this.#grown.to)) return true
    for (let quarter = first; quarter <= this.list.known; quarter++) {
      const meets = isSame(this.list, proven, quarter + 1) && !isSame(this.list, proven, quarter)
      if (meets && this.#claimed.has(quarter)) return true
    }
    return false
  }
}

function isSame(a: Checkpoints, b: Checkpoints, index: number): boolean {
  const [ofA, ofB] = [a.stateAt(index), b.stateAt(index)]
  return ofA !== undefined && ofB !== undefined && sameState(ofA, ofB)
}
