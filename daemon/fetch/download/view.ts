import type { Digest } from '../../../proxy/oci/digest.ts'
import { isSignedBy, ListHasher } from '../../share/signed-list.ts'
import type { PeerId } from '../../swarm/ports.ts'
import { Bitfield } from '../../verify/bitfield.ts'
import { firstDivergence } from '../../verify/check-quarter.ts'
import { type Checkpoints, GrowingCheckpoints, type ProvenCheckpoints } from '../../verify/checkpoints.ts'
import { sameState, stateBytes } from '../../verify/state.ts'

interface ViewOptions {
  readonly peer: PeerId
  readonly digest: Digest
  /** Bytes. */
  readonly size: number
}

/** A signature, and the part of the list that it is over. */
export interface SignedPrefix {
  readonly signer: PeerId
  readonly bytes: Uint8Array
  /** Inner states. */
  readonly known: number
  /** SHA-256 of them. */
  readonly hash: Buffer
}

/**
 * What a peer says of a blob, from one introduction to the next. An honest peer's view is of one piece: what it holds fits the
 * list that it tells. When it finds that its list was false, it takes all back and introduces itself anew.
 */
export class View {
  readonly peer: PeerId
  readonly digest: Digest
  readonly size: number
  /** The checkpoints that it has told. */
  readonly list: GrowingCheckpoints
  /** What it holds, without what it turned out not to give. */
  readonly held: Bitfield
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
  /** Has hashed the list as far as a signature was looked at: of most that come it is not. */
  readonly #hasher = new ListHasher()
  /** The newest signature that it told. */
  #told: Omit<SignedPrefix, 'hash'> | undefined
  /** The same, once it was looked at; undefined where it is wrong. */
  #signed: SignedPrefix | undefined
  #isChecked = false

  /** @throws {RangeError} for what is no size */
  constructor({ peer, digest, size }: ViewOptions) {
    this.peer = peer
    this.digest = digest
    this.size = size
    this.list = new GrowingCheckpoints(digest, size)
    this.held = new Bitfield(this.list.quarters)
    this.#claimed = new Bitfield(this.list.quarters)
  }

  get isListComplete(): boolean {
    return this.list.known === this.list.quarters - 1
  }

  /** Whether it says that it has all, and so that it has proven its list. */
  get isComplete(): boolean {
    return this.#claimed.isFull
  }

  /** Whether quarters are asked of the peer. */
  get isFollowed(): boolean {
    return this.isUsed && !this.isApart && !this.isRefuted
  }

  claims(quarter: number): boolean {
    return this.#claimed.has(quarter)
  }

  /** It says that it holds a quarter. @throws {RangeError} where the blob does not have it */
  told(quarter: number): void {
    if (quarter >= this.list.quarters) throw new RangeError(`quarter ${quarter} of ${this.list.quarters}`)
    this.#claimed.set(quarter)
    this.held.set(quarter)
  }

  /**
   * It tells more states.
   * @param isHolder whether it fetches from upstream, as the coordinator says
   * @throws {RangeError} where they can't follow those before
   */
  listed(states: Uint8Array, signature: Pick<SignedPrefix, 'signer' | 'bytes'> | undefined, isHolder: boolean): void {
    const before = this.list.known
    this.list.append(states)
    if (signature !== undefined) {
      this.#told = { ...signature, known: this.list.known }
      this.#isChecked = false
    }
    // What completes a list may have come from somebody who told a complete one.
    if (!isHolder || this.isListComplete) return
    this.#grown = { from: this.#grown.to === before ? this.#grown.from : before + 1, to: this.list.known }
  }

  /** The part of its list that a peer has signed; undefined where none is. */
  signedBy(peer: PeerId): SignedPrefix | undefined {
    const { digest, size } = this
    const told = this.#told
    if (told?.signer !== peer) return undefined
    if (!this.#isChecked) {
      this.#isChecked = true
      const from = this.#hasher.known
      this.#hasher.append(this.list.encode(from).subarray(0, (told.known - from) * stateBytes))
      const signed = { ...told, hash: this.#hasher.digest() }
      this.#signed = isSignedBy(peer, { digest, size, ...signed }, told.bytes) ? signed : undefined
    }
    return this.#signed
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
