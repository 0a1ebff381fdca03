import type { PartialBlob } from '../../store/partial-blob.ts'
import type { PeerId } from '../../swarm/ports.ts'
import { Bitfield } from '../../verify/bitfield.ts'
import { type Checkpoints, GrowingCheckpoints, Proof, type ProvenCheckpoints } from '../../verify/checkpoints.ts'
import type { Link } from '../../verify/link.ts'
import { quarterBytes, quarterLength } from '../../verify/quarter.ts'
import type { Sha256Engine } from '../../verify/sha256.ts'
import { stateBytes } from '../../verify/state.ts'
import { type Arriving, receiveBody, receiveWhole, type WholeFate } from './receive.ts'
import { type QuarterFate, Receiver } from './receiver.ts'
import { Writers } from './writers.ts'

/**
 * Who said what a checkpoint is: a peer, or this node itself, which computed it from upstream's bytes; or it was left by an
 * earlier process, which did not note who said it.
 */
export type Author = PeerId | 'self' | 'left'

/** Upstream's bytes show that states `from` and `to` of the list can't both be right. */
export interface Contradiction {
  readonly list: Checkpoints
  readonly from: number
  readonly to: number
}

export interface AssemblyEvents {
  /** The list was cut. @param dropped quarters, lowest first, that are not held any more, and were not upstream's */
  readonly onCut: (dropped: readonly number[]) => void
  /** A quarter of upstream that was not verified yet, and that clients may have got, is of no use. */
  readonly onLost: (quarter: number) => void
  /** Upstream contradicts what somebody said, which is about to be cut off. */
  readonly onContradicted: (contradiction: Contradiction) => void
}

/**
 * A blob that is being put together: its quarters on disk, and the list of checkpoints along which each was verified. Every
 * quarter that is held fits the current list; where the list is replaced, quarters that don't fit the new one are dropped.
 */
export class Assembly {
  readonly partial: PartialBlob
  readonly #engine: Sha256Engine
  readonly #events: AssemblyEvents
  #list: GrowingCheckpoints
  /** Of each state in the list. */
  #authors: Author[] = []
  /** Quarters of upstream in the file that the list does not reach yet: nobody but a client that asked for them may have them. */
  readonly raw: Bitfield
  readonly writers = new Writers()
  /** Quarters of which the file has upstream's own bytes, whatever becomes of the list. */
  readonly #own: Bitfield
  /** States to which upstream's own bytes lead from the start. */
  #ownStates = 0
  #revision = 0
  /** The states between which each quarter that is held was verified. */
  readonly #links = new Map<number, Link>()
  #drops = 0
  #proven: ProvenCheckpoints | undefined

  constructor(partial: PartialBlob, engine: Sha256Engine, events: AssemblyEvents) {
    this.partial = partial
    this.#engine = engine
    this.#events = events
    this.#own = new Bitfield(partial.held.length)
    this.#list = new GrowingCheckpoints(partial.digest, partial.size)
    this.raw = new Bitfield(partial.held.length)
    for (let index = 1; index < this.quarters; index++) {
      const state = partial.knownState(index)
      if (state === undefined) break
      this.#list.append(state)
      this.#authors.push('left')
    }
  }

  get size(): number {
    return this.partial.size
  }

  get quarters(): number {
    return this.#list.quarters
  }

  get held(): Bitfield {
    return this.partial.held
  }

  get list(): GrowingCheckpoints {
    return this.#list
  }

  /** Goes up whenever the list is cut: what was told of it before is not so any more. */
  get revision(): number {
    return this.#revision
  }

  /** Whether the size is proven: the last quarter leads to the digest, and the size is part of what is hashed there. */
  get isSizeProven(): boolean {
    return this.held.has(this.quarters - 1)
  }

  /** Quarters below this can be verified. */
  get verifiable(): number {
    return this.isListComplete ? this.quarters : this.#list.known
  }

  get isListComplete(): boolean {
    return this.#list.known === this.quarters - 1
  }

  /** The list, once every quarter was verified along it: that is the SHA-256 of the whole. */
  get proven(): ProvenCheckpoints | undefined {
    return this.#proven
  }

  /** Who said the state after a quarter, or for the last quarter the one before it. */
  authorOf(quarter: number): Author | undefined {
    return this.#authors[Math.min(quarter, this.quarters - 2)]
  }

  /** Appends what goes on from the end of the list. */
  extend(states: Uint8Array, author: Author): void {
    const from = this.#list.known
    this.#list.append(states)
    for (let index = from + 1; index <= this.#list.known; index++) {
      this.#authors.push(author)
      const state = this.#list.stateAt(index)
      if (state !== undefined) this.partial.saveState(index, state)
    }
  }

  /** Cuts off what somebody said, and all that comes after. */
  cut(author: Author): void {
    const first = this.#authors.indexOf(author)
    if (first !== -1) this.truncate(first)
  }

  /** For what one has said another answers who says the same, as far as that goes; the rest is cut off. */
  credit(author: Author, other: Author, known: number): void {
    this.#authors = this.#authors.map((one, index) => (one === author && index < known ? other : one))
    this.cut(author)
  }

  /**
   * Cuts the list to its first `known` states. Quarters that fitted what is cut off are not held any more; those that came from
   * upstream are kept until the list gets there again.
   */
  truncate(known: number): void {
    if (known >= this.#list.known || this.#proven !== undefined) return
    const kept = new GrowingCheckpoints(this.partial.digest, this.size)
    const states = this.#list.encode().subarray(0, known * stateBytes)
    if (states.length > 0) kept.append(states)
    this.#list = kept
    this.#authors = this.#authors.slice(0, known)
    this.#ownStates = Math.min(this.#ownStates, known)
    this.#revision++
    const dropped: number[] = []
    for (const quarter of [...this.held.indexes()]) {
      if (quarter < known) continue
      this.partial.drop(quarter)
      this.#links.delete(quarter)
      if (this.#own.has(quarter)) this.raw.set(quarter)
      else dropped.push(quarter)
    }
    if (dropped.length > 0) this.#drops++
    this.#events.onCut(dropped)
  }

  /**
   * A quarter of upstream does not fit. Cuts off what was said last by somebody else on the way there.
   * @returns `before` where the state before the quarter went, too; `after` where only what comes after it is false; `nobody`
   *   where all on the way are this node's own, of which nothing is cut
   */
  contradict(quarter: number): 'before' | 'after' | 'nobody' {
    let last = Math.min(quarter + 1, this.#list.known)
    while (last > 0 && this.#authors[last - 1] === 'self') last--
    if (last === 0) return 'nobody'
    let first = last
    while (first > 1 && this.#authors[first - 2] === this.#authors[last - 1]) first--
    this.#events.onContradicted({ list: this.#list, from: Math.min(quarter, last), to: last })
    this.truncate(first - 1)
    return first > quarter ? 'after' : 'before'
  }

  /**
   * Takes quarters as they arrive: each is written and hashed piece by piece, and judged when it is whole.
   * @throws {WrongQuarter}, {DigestMismatch} for upstream's, or what the body or the store throws
   */
  async take(arriving: Arriving): Promise<void> {
    await receiveBody(this, this.#engine, arriving)
  }

  /**
   * Takes a quarter of a peer that is whole in memory, which must not change until the promise settles.
   * @throws {RangeError} where there is no such quarter
   * @throws {StoreError}
   */
  async takeQuarter(quarter: number, bytes: Buffer): Promise<WholeFate> {
    return await receiveWhole(this, this.#engine, quarter, bytes)
  }

  /** An empty blob has one quarter, without a byte. @throws {WrongQuarter} */
  async takeNothing(): Promise<void> {
    await new Receiver(this, this.#engine, 0, false).finish()
  }

  /** Verifies quarters in the file that were not: those an earlier process left, or raw ones that the list has reached. */
  async settle(kind: 'left' | 'raw', signal: AbortSignal, onQuarter: (quarter: number) => void): Promise<void> {
    const candidates = kind === 'left' ? this.partial.unverified : this.raw
    for (const quarter of [...candidates.indexes()]) {
      if (quarter > this.#list.known && !this.isListComplete) return
      // Who writes it verifies it, too.
      if (!candidates.has(quarter) || this.writers.has(quarter)) continue
      const receiver = new Receiver(this, this.#engine, quarter, kind === 'raw')
      const start = quarter * quarterBytes
      let fate: QuarterFate = 'dropped'
      try {
        for await (const bytes of this.partial.read(start, start + quarterLength(quarter, this.size) - 1, signal)) {
          await receiver.rehash(bytes)
        }
        fate = await receiver.finish()
      } catch (error) {
        if (signal.aborted) throw error
        // What does not fit, or can't be read, is fetched again.
      } finally {
        receiver.abandon()
      }
      if (this.writers.isClosed) return
      if (fate === 'held') onQuarter(quarter)
      // Until here it counted as there, so that nobody brought it while it was read.
      if (fate !== 'dropped' || !candidates.clear(quarter) || kind === 'left') continue
      this.#own.clear(quarter)
      this.#drops++
      this.#events.onLost(quarter)
    }
  }

  /** Whether the list has reached a raw quarter. */
  get canSettleRaw(): boolean {
    const [first] = this.raw.indexes()
    return first !== undefined && (this.isListComplete || first <= this.#list.known)
  }

  keepRaw(quarter: number): void {
    this.#own.set(quarter)
    this.raw.set(quarter)
  }

  /** A quarter fits the list as it is now. The last one that was missing proves the whole. */
  hold(link: Link, isUpstream: boolean): void {
    const { quarter } = link
    this.raw.clear(quarter)
    this.#links.set(quarter, link)
    if (isUpstream) this.#own.set(quarter)
    else this.#own.clear(quarter)
    this.partial.hold(quarter)
    for (; this.#ownStates < this.#list.known; this.#ownStates++) {
      if (!this.#own.has(this.#ownStates) || !this.held.has(this.#ownStates)) break
      this.#authors[this.#ownStates] = 'self'
    }
    const list = this.held.isFull ? this.#list.complete() : undefined
    if (list === undefined) return
    const proof = new Proof(list)
    for (const one of this.#links.values()) proof.fits(one)
    this.#proven = proof.proven()
  }

  /** How often quarters were dropped: who reads from the file looks again what is there when it has gone up. */
  get drops(): number {
    return this.#drops
  }
}
