import type { Digest } from '../../proxy/oci/digest.ts'
import type { PeerId } from '../swarm/ports.ts'
import type { BlobNews, LogEntry } from './plan/messages.ts'
import type { SharedEntry } from './entry.ts'

/** Blobs that a peer may speak of at the same time, and the chunks of one: those of 64 GiB, the longest that is shared by chunks. */
const MAX_BLOBS = 4_096
const MAX_CHUNKS = 65_536

/** A peer and a blob: what each has told the other of it, but for what the plan keeps. */
export class Acquaintance {
  readonly entry: SharedEntry
  /** The number under which this node speaks of the blob on the link. */
  readonly number: number
  /** Whether the peer was told which blob that is; and whether with its size. */
  isIntroduced = false
  hasFacts = false
  /** Checkpoints that it was told. */
  statesTold = 0
  /** Whether its chunks may be used. */
  isFollowed = false
  /** What it told of its chunks, and the plan was not told: they can't be verified yet, or it is not followed. True: they are whole. */
  readonly #pending = new Map<number, boolean>()
  readonly #told = new Map<number, boolean>()

  constructor(entry: SharedEntry, number: number) {
    this.entry = entry
    this.number = number
  }

  /** It tells more. @throws {RangeError} for chunks that no blob has */
  heard({ log }: BlobNews, onChunk: (chunk: number, isWhole: boolean) => void): void {
    for (const one of log) {
      const isWhole = one < 0
      const chunk = isWhole ? ~one : one
      if (chunk >= MAX_CHUNKS) throw new RangeError(`chunk ${chunk} of a blob of ${MAX_CHUNKS} at most`)
      const before = this.#told.get(chunk)
      if (before === true || before === isWhole) continue
      this.#told.set(chunk, isWhole)
      this.#pending.set(chunk, isWhole)
      onChunk(chunk, isWhole)
    }
  }

  /** What the plan may be told now. */
  usable(): LogEntry[] {
    const log: LogEntry[] = []
    if (!this.isFollowed || this.entry.chunks === undefined) return log
    for (const [chunk, isWhole] of this.#pending) {
      if (isWhole && this.entry.isVerifiable(chunk, true)) {
        log.push(~chunk)
        this.#pending.delete(chunk)
      } else if (this.entry.isVerifiable(chunk, false)) {
        log.push(chunk)
        if (!isWhole) this.#pending.delete(chunk)
      }
    }
    return log
  }

  /** The plan has forgotten what it was told of it. */
  rewind(): void {
    for (const [chunk, isWhole] of this.#told) this.#pending.set(chunk, isWhole)
  }

  /** The peer takes back what it told. */
  forget(): void {
    this.#told.clear()
    this.#pending.clear()
  }
}

/** What a peer's link carries. */
export class Partner {
  readonly id: PeerId
  /** Blobs by the numbers under which the peer speaks of them. */
  readonly numbers = new Map<number, Digest>()
  readonly acquaintances = new Map<Digest, Acquaintance>()
  /** Free sending places that it told last. */
  free = 0
  /** Chunks that come, by the number of the question. */
  readonly coming = new Map<number, { readonly blob: Digest; readonly chunk: number }>()
  /** When bytes of a part came or left last, in ms of `performance.now()`. */
  lastIn = Number.NEGATIVE_INFINITY
  lastOut = Number.NEGATIVE_INFINITY
  #lastNumber = 0

  constructor(id: PeerId) {
    this.id = id
  }

  /** @throws {RangeError} where it speaks of too many blobs */
  name(number: number, digest: Digest): void {
    if (this.numbers.size >= MAX_BLOBS && !this.numbers.has(number))
      throw new RangeError(`the peer speaks of more than ${MAX_BLOBS} blobs`)
    this.numbers.set(number, digest)
  }

  meet(entry: SharedEntry): Acquaintance {
    const known = this.acquaintances.get(entry.digest)
    if (known !== undefined) return known
    const acquaintance = new Acquaintance(entry, ++this.#lastNumber)
    this.acquaintances.set(entry.digest, acquaintance)
    entry.partners.add(this)
    return acquaintance
  }

  part(digest: Digest): void {
    this.acquaintances.get(digest)?.entry.partners.delete(this)
    this.acquaintances.delete(digest)
    for (const [number, one] of this.numbers) if (one === digest) this.numbers.delete(number)
  }
}
