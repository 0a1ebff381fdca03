import type { BlobFacts, PeerId } from '../swarm/ports.ts'
import { Bitfield } from '../verify/bitfield.ts'
import { chunkCount } from '../verify/quarter.ts'
import type { SharedEntry } from './entry.ts'
import type { FetchedBlob } from './local-blob.ts'
import type { BlobNews, LogEntry } from './plan/messages.ts'
import { MAX_CHUNKS } from './wire/limits.ts'

/** Chunks of a blob of any size: it takes memory up to the last one. */
class Chunks {
  #bits = new Bitfield(64)

  has(chunk: number): boolean {
    return this.#bits.has(chunk)
  }

  /** @returns whether it is new */
  add(chunk: number): boolean {
    if (chunk >= this.#bits.length) {
      const before = this.#bits
      this.#bits = new Bitfield(Math.max(2 * before.length, chunk + 1))
      for (const one of before.indexes()) this.#bits.set(one)
    }
    return this.#bits.set(chunk)
  }

  delete(chunk: number): void {
    this.#bits.clear(chunk)
  }

  clear(): void {
    this.#bits = new Bitfield(64)
  }

  get count(): number {
    return this.#bits.count
  }

  /** In ascending order. */
  [Symbol.iterator](): Iterator<number> {
    return this.#bits.indexes()[Symbol.iterator]()
  }
}

/** Checkpoints as a peer told them. */
interface HeardList {
  readonly from: number
  readonly states: Uint8Array
  readonly signature: { readonly signer: PeerId; readonly bytes: Uint8Array } | undefined
}

/** A peer and a blob: what each has told the other of it, but for what the plan keeps. */
export class Acquaintance {
  readonly entry: SharedEntry
  /** The number under which this node speaks of the blob on the link. */
  readonly number: number
  readonly metAt = performance.now()
  /** Whether the peer was told which blob that is; and whether with its size. */
  isIntroduced = false
  hasFacts = false
  /** Checkpoints that it was told. */
  statesTold = 0
  /** Whether it has said what it knows of the blob. */
  hasAnswered = false
  /** Whether its chunks may be used. */
  isFollowed = false
  /** Chunks that it told; those of them that are whole; and those that the plan was not told, as they can't be used yet. */
  readonly #told = new Chunks()
  readonly #whole = new Chunks()
  readonly #pending = new Chunks()
  /** What it said of a blob that is not fetched yet. */
  #facts: BlobFacts | undefined
  #lists: HeardList[] = []
  /** More was said than could be kept. */
  #isCutOff = false

  constructor(entry: SharedEntry, number: number) {
    this.entry = entry
    this.number = number
  }

  /** It tells more. @throws {RangeError} for chunks that no blob has */
  heard({ log }: BlobNews, onChunk: (chunk: number, isWhole: boolean) => void): void {
    for (const one of log) {
      const isWhole = one < 0
      const chunk = isWhole ? ~one : one
      if (chunk >= MAX_CHUNKS) throw new RangeError(`a blob has ${MAX_CHUNKS} chunks at most, and no chunk ${chunk}`)
      // Of a blob that is here the size is proven: there is nothing to remember of what it does not have.
      if (this.entry.isStored && chunk >= (this.entry.chunks ?? 0)) continue
      const isNew = this.#told.add(chunk)
      if (!(isWhole ? this.#whole.add(chunk) : isNew)) continue
      this.#pending.add(chunk)
      onChunk(chunk, isWhole)
    }
  }

  /** It introduces itself before the blob is fetched. */
  introduced(facts: BlobFacts): void {
    this.#facts = facts
    this.#lists = []
    this.#isCutOff = false
  }

  /** Whether it has said before the blob is fetched that it has all of it. */
  get hasAll(): boolean {
    return this.#facts !== undefined && this.#whole.count >= chunkCount(this.#facts.size)
  }

  /** It tells checkpoints before the blob is fetched. @param isKept whether there is room for them */
  listed(list: HeardList, isKept: boolean): void {
    this.#isCutOff ||= !isKept
    const { from, states, signature } = list
    if (isKept) this.#lists.push({ from, states: Uint8Array.from(states), signature })
    else this.#lists = []
  }

  /**
   * The blob is fetched now: what the peer said before is said again.
   * @returns false where it does not fit together, or was more than could be kept
   */
  recall(peer: PeerId, fetched: FetchedBlob): boolean {
    const lists = this.#lists
    this.#lists = []
    if (this.#facts === undefined || this.#isCutOff) return !this.#isCutOff
    fetched.introduced(peer, this.#facts)
    try {
      for (const { from, states, signature } of lists) fetched.listed(peer, from, states, signature)
      for (const chunk of this.#told) fetched.told(peer, chunk, this.#whole.has(chunk))
    } catch {
      return false
    }
    return true
  }

  /** What the plan may be told now; it counts as told. */
  usable(): LogEntry[] {
    const log: LogEntry[] = []
    const { entry } = this
    if (this.#pending.count === 0 || entry.chunks === undefined || (!this.isFollowed && entry.fetched !== undefined))
      return log
    for (const chunk of this.#pending) {
      // Checkpoints come in order: nothing behind this one can be verified.
      if (!entry.isVerifiable(chunk, false)) break
      const isWhole = this.#whole.has(chunk)
      const isUsable = !isWhole || entry.isVerifiable(chunk, true)
      log.push(isWhole && isUsable ? ~chunk : chunk)
      if (isUsable) this.#pending.delete(chunk)
    }
    return log
  }

  /** The plan has forgotten what it was told. */
  rewind(): void {
    for (const chunk of this.#told) this.#pending.add(chunk)
  }

  /** The peer takes back what it told. */
  forget(): void {
    this.#told.clear()
    this.#whole.clear()
    this.#pending.clear()
    this.#lists = []
  }
}
