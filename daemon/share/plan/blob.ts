import { Bitfield } from '../../verify/bitfield.ts'
import type { BlobId, LogEntry } from './messages.ts'

/**
 * What is left to neighbours of the own site, so that none of another site is asked for it: all; what one of them has, in part or
 * whole; what one has whole; or nothing.
 */
export type LeftToSite = 'all' | 'begun' | 'whole' | 'nothing'

/** What this node holds of one blob, what is on its way, and how many copies it knows of. */
export class PlannedBlob {
  readonly id: BlobId
  /** One as long as nobody has told the size: upstream tells it with the first chunk. */
  chunks: number
  isSized: boolean
  /** Whether it is wanted now. */
  isWanted: boolean
  /** Whether upstream does not give it at present. */
  isUnreadable = false
  /** Whether peers must not know of it. */
  isAlone = false
  /** Neighbours for it. */
  neighbours = 0
  leftToSite: LeftToSite = 'all'
  /** Whether this node has the turn at other sites; without it, it asks for one chunk at a time there. */
  isSiteHead = false
  /** Parts that came from other sites. */
  crossed = 0
  /** Whether a part has come from a neighbour. */
  hasCome = false
  /** Chunks that clients wait for. */
  urgent: readonly number[] = []
  /** Verified parts of each chunk. */
  parts: Uint8Array
  /** Chunks that are neither whole nor on their way in time. */
  wanted: Bitfield
  /** Those of which no part is held. */
  untouched: Bitfield
  /** Neighbours that have a chunk as told, and own sends that are not late and of which the receiver has not told yet. */
  copies: Uint16Array
  /** What became new, in order: neighbours are told from where each was told last. */
  readonly log: LogEntry[] = []
  /** Chunks on their way, with the number of sources that are not late. */
  readonly coming = new Map<number, number>()
  /** Chunks that came from upstream and can't be verified yet: on their way, from a source that is never late. */
  readonly raw = new Set<number>()
  /** Chunks that are held in part. */
  readonly begun = new Set<number>()
  /** The first chunk that is neither whole nor raw. */
  first = 0
  /** Chunks that are whole. */
  whole = 0
  /** When a part came from a neighbour last, or one told of a chunk that none had told of before; in ms. */
  movedAt: number
  /** When a part came from anywhere last, or it began to be wanted; in ms. */
  cameAt: number
  readonly #quarters: number
  #seen: Bitfield

  constructor(id: BlobId, chunks: number | undefined, quarters: number, isWanted: boolean, now: number) {
    this.id = id
    this.chunks = chunks ?? 1
    this.isSized = chunks !== undefined
    this.isWanted = isWanted
    this.#quarters = quarters
    this.#seen = new Bitfield(this.chunks)
    this.parts = new Uint8Array(this.chunks)
    this.wanted = Bitfield.full(this.chunks)
    this.untouched = Bitfield.full(this.chunks)
    this.copies = new Uint16Array(this.chunks)
    this.movedAt = now
    this.cameAt = now
  }

  /** Its size is known now; what comes from upstream goes on. */
  size(chunks: number): void {
    this.chunks = chunks
    this.isSized = true
    this.#seen = new Bitfield(chunks)
    this.parts = new Uint8Array(chunks)
    this.wanted = Bitfield.full(chunks)
    this.untouched = Bitfield.full(chunks)
    this.copies = new Uint16Array(chunks)
    for (const chunk of this.coming.keys()) {
      this.wanted.clear(chunk)
      this.untouched.clear(chunk)
    }
  }

  /** Chunks of which a part is here, or was told of. */
  get known(): number {
    return this.#seen.count
  }

  get isDone(): boolean {
    return this.isSized && this.whole === this.chunks
  }

  /** Whether this node fetches it together with others, as long as it is not done. */
  get isShared(): boolean {
    return this.isWanted && !this.isAlone
  }

  /** Whether neighbours are asked for it. */
  get isAskedFor(): boolean {
    return this.isShared && this.isSized && !this.isDone
  }

  isWhole(chunk: number): boolean {
    return this.parts[chunk] === this.#quarters
  }

  partsOf(chunk: number): number {
    return this.parts[chunk] ?? 0
  }

  /** Whether `gap` chunks or more are held beyond the first one that is missing. */
  hasGap(gap: number): boolean {
    return this.whole + this.raw.size - this.first >= gap
  }

  /** One more part is held: they count in order only. @returns whether that is new */
  hold(chunk: number, quarter: number): boolean {
    if (quarter !== this.partsOf(chunk) || quarter >= this.#quarters) return false
    this.#touch(chunk, quarter + 1)
    if (this.isWhole(chunk)) this.#finish(chunk)
    else {
      this.begun.add(chunk)
      if (quarter === 0) this.log.push(chunk)
    }
    return true
  }

  /** A chunk was whole before this node took part. @returns whether that is new */
  holdWhole(chunk: number): boolean {
    if (chunk >= this.chunks || this.isWhole(chunk)) return false
    this.#touch(chunk, this.#quarters)
    this.#finish(chunk)
    return true
  }

  /** A chunk came from upstream, and is to be verified later. */
  holdRaw(chunk: number): void {
    if (this.isWhole(chunk) || this.raw.has(chunk)) return
    this.raw.add(chunk)
    this.comes(chunk)
    this.#advance()
  }

  /** A part of a chunk is somewhere. @returns whether that is new */
  sees(chunk: number): boolean {
    return this.#seen.set(chunk)
  }

  /** A source that is not late brings a chunk. */
  comes(chunk: number): void {
    this.coming.set(chunk, (this.coming.get(chunk) ?? 0) + 1)
    this.wanted.clear(chunk)
    this.untouched.clear(chunk)
  }

  /** A source has brought it, is late with it, or has ended. */
  comesNot(chunk: number): void {
    const sources = (this.coming.get(chunk) ?? 0) - 1
    if (sources > 0) {
      this.coming.set(chunk, sources)
      return
    }
    this.coming.delete(chunk)
    if (this.isWhole(chunk)) return
    this.wanted.set(chunk)
    if (this.partsOf(chunk) === 0) this.untouched.set(chunk)
  }

  #touch(chunk: number, parts: number): void {
    this.parts[chunk] = parts
    this.untouched.clear(chunk)
    this.sees(chunk)
  }

  #finish(chunk: number): void {
    this.begun.delete(chunk)
    this.log.push(~chunk)
    this.whole++
    this.wanted.clear(chunk)
    if (this.raw.delete(chunk)) this.comesNot(chunk)
    this.#advance()
  }

  #advance(): void {
    while (this.first < this.chunks && (this.isWhole(this.first) || this.raw.has(this.first))) this.first++
  }
}
