import { algorithmOf, type Digest, digestFrom, hexOf } from '../../proxy/oci/digest.ts'
import { type Link, verdictOf } from './link.ts'
import { DigestMismatch } from './mismatch.ts'
import { quarterBytes, quarterCount } from './quarter.ts'
import { type FilePlace, QuarterHasher, type Sha256Engine } from './sha256.ts'
import { initialState, type Sha256State, sameState, stateBytes } from './state.ts'

/**
 * The checkpoints of a blob: the SHA-256 states at the borders of its quarters. A blob of n quarters has the states 0 (SHA-256's
 * initial one) to n (the digest); a list of them holds the inner ones, 1 to n-1. Link i is quarter i between states i and i+1.
 */
export interface Checkpoints {
  readonly digest: Digest
  /** Bytes. */
  readonly size: number
  /** Number of quarters, at least 1. */
  readonly quarters: number
  /**
   * The state before quarter `index`; for `index === quarters` the digest.
   * @returns undefined where it is not known yet
   * @throws {RangeError}
   */
  stateAt(index: number): Sha256State | undefined
}

abstract class CompleteCheckpoints implements Checkpoints {
  readonly digest: Digest
  readonly size: number
  readonly quarters: number
  readonly #states: Uint8Array
  readonly #end: Uint8Array

  /** @param states the inner ones, one after the other; copied */
  constructor(digest: Digest, size: number, states: Uint8Array) {
    this.digest = digest
    this.size = size
    this.quarters = quarterCount(size)
    this.#end = digestBytes(digest)
    const expected = (this.quarters - 1) * stateBytes
    if (states.length !== expected) {
      throw new RangeError(`checkpoints of ${size} bytes have ${expected} bytes, not ${states.length}`)
    }
    this.#states = Uint8Array.from(states)
  }

  stateAt(index: number): Sha256State {
    assertIndex(index, this.quarters)
    if (index === 0) return initialState
    if (index === this.quarters) return this.#end
    return this.#states.subarray((index - 1) * stateBytes, index * stateBytes)
  }

  /** The inner states one after the other: 32 bytes for each quarter but the first. */
  encode(): Uint8Array {
    return Uint8Array.from(this.#states)
  }
}

/**
 * A complete list that somebody claims. What is verified along it is *provisional* until a {@link Proof} is complete, except
 * for the quarters of which that says otherwise.
 */
export class ClaimedCheckpoints extends CompleteCheckpoints {
  readonly status = 'claimed'
}

/** The constructor stays in this file: a list is proven by {@link Proof} and {@link BlobHasher} only. */
class ProvenCheckpoints extends CompleteCheckpoints {
  readonly status = 'proven'
}

/** A complete list along which the whole blob was verified, from SHA-256's initial state to the digest. */
export type { ProvenCheckpoints }

/**
 * A list as it comes from a peer.
 * @param bytes the inner states, one after the other
 * @throws {TypeError} for a digest that is not a sha256: only that has checkpoints
 * @throws {RangeError} where `bytes` has not the length that `size` gives
 */
export function decodeCheckpoints(digest: Digest, size: number, bytes: Uint8Array): ClaimedCheckpoints {
  return new ClaimedCheckpoints(digest, size, bytes)
}

/**
 * A proven list that this node itself has kept, beside a blob that it verified. Never for what came from elsewhere.
 * @throws {TypeError | RangeError} as {@link decodeCheckpoints}
 */
export function restoreCheckpoints(digest: Digest, size: number, bytes: Uint8Array): ProvenCheckpoints {
  return new ProvenCheckpoints(digest, size, bytes)
}

/** A list that grows with a blob that still arrives somewhere. All that is verified along it is provisional. */
export class GrowingCheckpoints implements Checkpoints {
  readonly status = 'growing'
  readonly digest: Digest
  readonly size: number
  readonly quarters: number
  /** The inner states one after the other, and room for more: an array for each would take several times the memory. */
  #states = new Uint8Array(0)
  #known = 0
  readonly #end: Uint8Array

  /** @throws {TypeError} for a digest that is not a sha256 */
  constructor(digest: Digest, size: number) {
    this.digest = digest
    this.size = size
    this.quarters = quarterCount(size)
    this.#end = digestBytes(digest)
  }

  /** How many inner states are known: 1 to `known`. */
  get known(): number {
    return this.#known
  }

  /** The state before quarter `index`; that at the end is known from the beginning, as it is the digest. */
  stateAt(index: number): Sha256State | undefined {
    assertIndex(index, this.quarters)
    if (index === 0) return initialState
    if (index === this.quarters) return this.#end
    return index > this.#known ? undefined : this.#states.subarray((index - 1) * stateBytes, index * stateBytes)
  }

  /**
   * @param states the next one or several, 32 bytes each; copied
   * @throws {RangeError} for parts of states, and for more than the blob has
   */
  append(states: Uint8Array): void {
    const count = states.length / stateBytes
    if (!Number.isInteger(count)) throw new RangeError(`${states.length} bytes are not whole states`)
    if (this.known + count >= this.quarters) throw new RangeError(`${this.quarters} quarters have no more states`)
    const from = this.#known * stateBytes
    if (from + states.length > this.#states.length) {
      // States that were given out stay where they are: what is written is never changed.
      const longer = new Uint8Array(Math.max(2 * this.#states.length, from + states.length))
      longer.set(this.#states)
      this.#states = longer
    }
    this.#states.set(states, from)
    this.#known += count
  }

  /**
   * The known states for somebody who has the first `from` of them, to be appended there.
   * @param from number of inner states
   */
  encode(from = 0): Uint8Array {
    return this.#states.slice(from * stateBytes, this.#known * stateBytes)
  }

  /** The list as a complete one, once it is. */
  complete(): ClaimedCheckpoints | undefined {
    return this.known === this.quarters - 1 ? new ClaimedCheckpoints(this.digest, this.size, this.encode()) : undefined
  }
}

/**
 * What the quarters that were found to fit along one list prove.
 *
 * The end of a list is the digest, so the last quarter proves the state before it, that one's quarter the next, and so on
 * backwards. This needs SHA-256's compression function to resist free-start preimages, which is the standing belief. When
 * all have fitted, the list is the computation of the blob's SHA-256, and nothing is assumed.
 */
export class Proof {
  readonly list: ClaimedCheckpoints
  readonly #fitting: Uint8Array
  #provenFrom: number

  constructor(list: ClaimedCheckpoints) {
    this.list = list
    this.#fitting = new Uint8Array(list.quarters)
    this.#provenFrom = list.quarters
  }

  /**
   * A quarter was hashed, and fits along this list. One that only fitted another list proves nothing here.
   * @throws {RangeError} where it does not fit
   */
  fits(link: Link): void {
    if (verdictOf(this.list, link) !== 'fits')
      throw new RangeError(`quarter ${link.quarter} does not fit along this list`)
    this.#fitting[link.quarter] = 1
    while (this.#fitting[this.#provenFrom - 1] === 1) this.#provenFrom -= 1
  }

  /** Quarters from this index on are verified; those before it that fitted are provisional. At first the number of quarters. */
  get provenFrom(): number {
    return this.#provenFrom
  }

  get isComplete(): boolean {
    return this.#provenFrom === 0
  }

  /** The list, once the proof is complete. */
  proven(): ProvenCheckpoints | undefined {
    return this.isComplete ? new ProvenCheckpoints(this.list.digest, this.list.size, this.list.encode()) : undefined
  }
}

/** Hashes a blob from its first byte on, of which neither digest nor length need be known before its end. */
export class BlobHasher {
  readonly #hasher: QuarterHasher
  readonly #states: Uint8Array[] = []

  constructor(engine: Sha256Engine) {
    this.#hasher = new QuarterHasher(engine, initialState)
  }

  /** Bytes so far. */
  get length(): number {
    return this.#hasher.length
  }

  /**
   * @param piece of any length; must not change until the promise settles
   * @param place where the bytes of the blob from a position on are to be written as well
   * @throws as {@link QuarterHasher.push}; nothing more can be hashed then
   */
  async push(piece: Uint8Array, place?: (position: number) => FilePlace): Promise<void> {
    for (let start = 0; start < piece.length; ) {
      const end = Math.min(piece.length, start + quarterBytes - (this.length % quarterBytes))
      await this.#hasher.push(piece.subarray(start, end), place?.(this.length))
      if (this.length % quarterBytes === 0) this.#states.push(this.#hasher.state())
      start = end
    }
  }

  /**
   * The checkpoints of what was pushed.
   * @throws {DigestMismatch} where that has another digest
   * @throws {TypeError} for a digest that is not a sha256
   */
  async prove(digest: Digest): Promise<ProvenCheckpoints> {
    const expected = digestBytes(digest)
    const actual = await this.#hasher.digest(this.length)
    if (!sameState(actual, expected)) throw new DigestMismatch(digest, digestOfBytes(actual))
    // The state after the last quarter is not one between two.
    const inner = this.#states.slice(0, quarterCount(this.length) - 1)
    return new ProvenCheckpoints(digest, this.length, Buffer.concat(inner))
  }
}

/**
 * The checkpoints of a blob that is held already.
 * @param size bytes
 * @param body its bytes in pieces of any length, each valid until the next is asked for
 * @throws {DigestMismatch} where the bytes are not those of the digest
 * @throws {RangeError} where they are, but `size` is another
 * @throws {TypeError} for a digest that is not a sha256
 */
export async function computeCheckpoints(
  engine: Sha256Engine,
  digest: Digest,
  size: number,
  body: AsyncIterable<Uint8Array>,
): Promise<ProvenCheckpoints> {
  const hasher = new BlobHasher(engine)
  digestBytes(digest)
  for await (const piece of body) await hasher.push(piece)
  const proven = await hasher.prove(digest)
  if (hasher.length !== size) throw new RangeError(`the blob has ${hasher.length} bytes, not ${size}`)
  return proven
}

function digestBytes(digest: Digest): Uint8Array {
  if (algorithmOf(digest) !== 'sha256') throw new TypeError(`${digest} has no checkpoints: only sha256 has`)
  return Uint8Array.from(Buffer.from(hexOf(digest), 'hex'))
}

function digestOfBytes(bytes: Uint8Array): Digest {
  const digest = digestFrom('sha256', Buffer.from(bytes).toString('hex'))
  if (digest === undefined) throw new TypeError(`${bytes.length} bytes are not a sha256`)
  return digest
}

function assertIndex(index: number, last: number): void {
  if (!Number.isInteger(index) || index < 0 || index > last) throw new RangeError(`${index} is not within 0 to ${last}`)
}
