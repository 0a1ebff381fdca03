import { algorithmOf, type Digest, digestFrom } from '../../../proxy/oci/digest.ts'
import type { PartialBlob } from '../../store/partial-blob.ts'
import type { Bitfield } from '../../verify/bitfield.ts'
import type { GrowingCheckpoints } from '../../verify/checkpoints.ts'
import { type Link, type LinkVerdict, linkOf, verdictOf } from '../../verify/link.ts'
import { DigestMismatch } from '../../verify/mismatch.ts'
import { quarterBytes, quarterLength } from '../../verify/quarter.ts'
import { QuarterHasher, type Sha256Engine } from '../../verify/sha256.ts'
import type { Sha256State } from '../../verify/state.ts'
import type { QuarterWriter, Writers } from './writers.ts'

/** The bytes of a quarter do not fit the list. Either is wrong. */
export class WrongQuarter extends Error {
  readonly quarter: number

  constructor(quarter: number) {
    super(`quarter ${quarter} does not fit the checkpoints`)
    this.name = 'WrongQuarter'
    this.quarter = quarter
  }
}

/**
 * What became of a quarter:
 * - `held`: it fits, and is in the file
 * - `raw`: it is upstream's and in the file; the list does not reach it yet
 * - `dropped`: it was there before, or the list has changed meanwhile
 */
export type QuarterFate = 'held' | 'raw' | 'dropped'

/** As {@link QuarterFate}, with why it was dropped: it is `there`, or the list does not say what it is any more. */
type Judgement = 'held' | 'raw' | 'there' | 'unknown'

/** What a receiver needs of the blob that is being put together. */
export interface ReceivingBlob {
  readonly partial: PartialBlob
  readonly list: GrowingCheckpoints
  /** Who writes which quarter: a second one to bring the same keeps it in memory until it has proven to fit. */
  readonly writers: Writers
  /** Quarters of upstream in the file that are not verified yet: clients may read them, so nobody writes there. */
  readonly raw: Bitfield
  extend(states: Uint8Array, author: 'self'): void
  truncate(known: number): void
  /** Upstream's quarter does not fit: cuts off what was said by others on the way, see {@link Assembly.contradict}. */
  contradict(quarter: number): 'before' | 'after' | 'nobody'
  hold(link: Link, isUpstream: boolean): void
  keepRaw(quarter: number): void
}

/** One quarter from one source: written and hashed as it arrives, judged when it is whole. */
export class Receiver {
  readonly quarter: number
  readonly #blob: ReceivingBlob
  readonly #isUpstream: boolean
  readonly #hasher: QuarterHasher | undefined
  readonly #writer: QuarterWriter = { isStopped: false, writing: Promise.resolve() }
  #memory: Buffer | undefined
  #length = 0
  /** A part was left out, because the quarter was there already. What comes after it is of no use without it. */
  #hasGap = false
  /** The bytes come from the file. */
  #isReread = false

  constructor(blob: ReceivingBlob, engine: Sha256Engine, quarter: number, isUpstream: boolean) {
    this.quarter = quarter
    this.#blob = blob
    this.#isUpstream = isUpstream
    const before = quarter < blob.list.quarters ? blob.list.stateAt(quarter) : undefined
    this.#hasher = before === undefined ? undefined : new QuarterHasher(engine, before)
  }

  get isWhole(): boolean {
    return this.#length === quarterLength(this.quarter, this.#blob.partial.size)
  }

  /** The next bytes; their memory may be used again when it returns or throws. @throws {StoreError} */
  async push(piece: Uint8Array): Promise<void> {
    const position = this.#length
    this.#length += piece.length
    this.#hasGap ||= this.isThere
    if (this.#hasGap) return
    if (!this.#mayWrite(position)) {
      this.#memory?.set(piece, position)
      await this.#hasher?.push(piece)
      return
    }
    const place = this.#blob.partial.at(this.quarter * quarterBytes + position)
    this.#writer.writing = this.#hasher === undefined ? place.write(piece) : this.#hasher.push(piece, place)
    await this.#writer.writing
  }

  /**
   * The whole quarter, in memory that must not change until {@link judge} has ended.
   * @throws {StoreError}
   */
  async pushWhole(bytes: Buffer): Promise<void> {
    if (!this.#blob.writers.has(this.quarter)) return await this.push(bytes)
    // Somebody else writes it: it stays where it is until it has proven to fit.
    this.#memory = bytes
    this.#length = bytes.length
    await this.#hasher?.push(bytes)
  }

  /** As `push`, for bytes that are in the file already; nobody writes there unasked meanwhile. */
  async rehash(piece: Uint8Array): Promise<void> {
    if (!this.#isReread) this.#blob.writers.set(this.quarter, this.#writer)
    this.#isReread = true
    this.#length += piece.length
    await this.#hasher?.push(piece)
  }

  /** Judges the quarter. @throws {WrongQuarter}, {DigestMismatch} */
  async finish(): Promise<QuarterFate> {
    const judgement = await this.judge()
    return judgement === 'there' || judgement === 'unknown' ? 'dropped' : judgement
  }

  /** As `finish`, and says why it is dropped. */
  async judge(): Promise<Judgement> {
    try {
      return await this.#judge()
    } finally {
      this.abandon()
    }
  }

  /** Lets go of the file; to be called where the quarter does not come to its end. */
  abandon(): void {
    if (this.#blob.writers.get(this.quarter) === this.#writer) this.#blob.writers.delete(this.quarter)
  }

  /** Whether the quarter is not needed any more. */
  get isThere(): boolean {
    const { partial, raw, writers } = this.#blob
    return writers.isClosed || partial.held.has(this.quarter) || (raw.has(this.quarter) && !this.#isReread)
  }

  async #judge(): Promise<Judgement> {
    if (this.#hasGap || this.isThere || this.#writer.isStopped) return 'there'
    const link = this.#hasher && (await linkOf(this.#hasher, this.quarter, this.#blob.partial.size))
    const verdict = this.#verdict(link)
    if (!this.#isUpstream && verdict === 'wrong') throw new WrongQuarter(this.quarter)
    if (!this.#isUpstream && verdict !== 'fits') return 'unknown'
    if (!(await this.#toFile()) || this.#writer.isStopped) return 'there'
    return this.#settle(link)
  }

  #verdict(link: Link | undefined): LinkVerdict {
    return link === undefined ? 'unknown' : verdictOf(this.#blob.list, link)
  }

  /** The quarter is in the file. The list may have changed while it was written, so that counts which it is now. */
  #settle(link: Link | undefined): Judgement {
    const verdict = this.#verdict(link)
    if (link !== undefined && verdict === 'fits') return this.#hold(link)
    if (!this.#isUpstream) return 'unknown'
    return link === undefined || verdict === 'unknown' ? this.#keepRaw() : this.#goOnFromUpstream(link)
  }

  #hold(link: Link): Judgement {
    this.#blob.hold(link, this.#isUpstream)
    return 'held'
  }

  #keepRaw(): Judgement {
    this.#blob.keepRaw(this.quarter)
    return 'raw'
  }

  /** What upstream itself sends goes before what a peer says that it should be. @throws {DigestMismatch} */
  #goOnFromUpstream(link: Link): Judgement {
    const { partial, list } = this.#blob
    const cut = this.#verdict(link) === 'wrong' ? this.#blob.contradict(this.quarter) : 'after'
    if (cut === 'nobody' && this.quarter === list.quarters - 1) {
      throw new DigestMismatch(partial.digest, digestOfState(link.after, partial.digest))
    }
    if (cut === 'before') return this.#keepRaw()
    // Upstream contradicts itself: what it sent last is not what lies in the file.
    if (cut === 'nobody' && this.#isReread) return 'unknown'
    this.#blob.truncate(this.quarter)
    this.#blob.extend(link.after, 'self')
    return this.#hold(link)
  }

  /** Whether what is at this position of the quarter goes to the file: not while somebody else writes the quarter, or has begun to. */
  #mayWrite(position: number): boolean {
    const { writers } = this.#blob
    if (position === 0) {
      if (writers.has(this.quarter)) this.#memory = Buffer.allocUnsafeSlow(quarterBytes)
      else writers.set(this.quarter, this.#writer)
    }
    return this.#memory === undefined && !this.#writer.isStopped
  }

  /** What was kept in memory goes to the file, in the place of the one who was writing. @returns false: somebody was faster */
  async #toFile(): Promise<boolean> {
    const { writers } = this.#blob
    if (this.#memory === undefined) return true
    if (this.isThere) return false
    const other = writers.get(this.quarter)
    if (other !== undefined) other.isStopped = true
    writers.set(this.quarter, this.#writer)
    // Whoever takes its place in turn waits for all of it: of two writes under way, the older one may be the last to land.
    this.#writer.writing = this.#writeAfter(other?.writing, this.#memory.subarray(0, this.#length))
    await this.#writer.writing
    return true
  }

  async #writeAfter(other: Promise<unknown> | undefined, bytes: Uint8Array): Promise<void> {
    await other?.catch(() => {})
    if (!this.#writer.isStopped) await this.#blob.partial.write(bytes, this.quarter * quarterBytes)
  }
}

function digestOfState(state: Sha256State, expected: Digest): Digest {
  return digestFrom(algorithmOf(expected), Buffer.from(state).toString('hex')) ?? expected
}
