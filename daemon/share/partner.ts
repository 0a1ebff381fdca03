import type { Digest } from '../../proxy/oci/digest.ts'
import type { PeerId } from '../swarm/ports.ts'
import { Acquaintance } from './acquaintance.ts'
import type { SharedEntry } from './entry.ts'
import { LOG_ENTRIES_PER_SECOND, MAX_LOG_ENTRIES_PER_FRAME } from './wire/limits.ts'

/** Blobs that a peer may speak of at the same time. */
const MAX_BLOBS = 4_096

/** The chunk that is the answer to a question. */
export interface Coming {
  readonly blob: Digest
  readonly chunk: number
}

/** A peer that this node has a link with, or is about to. */
export class Partner {
  readonly id: PeerId
  readonly acquaintances = new Map<Digest, Acquaintance>()
  /** Free sending places, as it told last, less the questions asked since. */
  free = 0
  /** What each question that is open brings, once the peer has said it. */
  readonly #coming = new Map<number, PromiseWithResolvers<Coming | undefined>>()
  /** When bytes of a part came or left last, in ms of `performance.now()`. */
  readonly movedAt = { in: Number.NEGATIVE_INFINITY, out: Number.NEGATIVE_INFINITY }
  /** Blobs by the numbers under which the peer speaks of them. */
  readonly #names = new Map<number, Digest>()
  #lastNumber = 0
  /** Entries of logs that it may tell now, and when that was counted (performance.now()). */
  #tellable = MAX_LOG_ENTRIES_PER_FRAME
  #countedAt = performance.now()

  constructor(id: PeerId) {
    this.id = id
  }

  /** The blob of which the peer speaks by a number. */
  blobOf(number: number): Digest | undefined {
    return this.#names.get(number)
  }

  /** @throws {RangeError} where it speaks of too many blobs */
  name(number: number, digest: Digest): void {
    if (this.#names.size >= MAX_BLOBS && !this.#names.has(number))
      throw new RangeError(`the peer speaks of more than ${MAX_BLOBS} blobs`)
    this.#names.set(number, digest)
  }

  /** It tells entries of logs. @throws {RangeError} where it tells more than there can be news of */
  tells(entries: number): void {
    const now = performance.now()
    const more = ((now - this.#countedAt) / 1000) * LOG_ENTRIES_PER_SECOND
    this.#tellable = Math.min(this.#tellable + more, MAX_LOG_ENTRIES_PER_FRAME) - entries
    this.#countedAt = now
    if (this.#tellable < 0) throw new RangeError('the peer tells the same chunks again and again')
  }

  /** A question was asked. */
  asks(id: number): void {
    this.free = Math.max(0, this.free - 1)
    this.#coming.set(id, Promise.withResolvers())
  }

  /** The peer says what it sends. */
  brings(id: number, coming: Coming): void {
    this.#coming.get(id)?.resolve(coming)
  }

  /** An answer has come to its end, or does not come. */
  ends(id: number): void {
    this.#coming.get(id)?.resolve(undefined)
    this.#coming.delete(id)
  }

  /** What an answer brings: its first bytes may be here before the message that says it. Undefined where it was given up. */
  async coming(id: number): Promise<Coming | undefined> {
    const asked = this.#coming.get(id)
    const coming = await asked?.promise
    return this.#coming.get(id) === asked ? coming : undefined
  }

  /** Nothing comes any more. */
  close(): void {
    for (const id of [...this.#coming.keys()]) this.ends(id)
  }

  /** The peer and this node speak of a blob. */
  meet(entry: SharedEntry): Acquaintance {
    const known = this.acquaintances.get(entry.digest)
    if (known?.entry === entry) return known
    const acquaintance = new Acquaintance(entry, ++this.#lastNumber)
    this.acquaintances.set(entry.digest, acquaintance)
    entry.peers.add(this.id)
    return acquaintance
  }

  /** They do so no more. */
  part(digest: Digest): void {
    this.acquaintances.get(digest)?.entry.peers.delete(this.id)
    this.acquaintances.delete(digest)
  }

  /** The peer will not speak of a blob by its number any more. */
  unname(digest: Digest): void {
    for (const [number, one] of this.#names) if (one === digest) this.#names.delete(number)
  }
}

/** The peers that blobs are shared with. */
export class Partners extends Map<PeerId, Partner> {
  of(id: PeerId): Partner {
    let partner = this.get(id)
    if (partner === undefined) {
      partner = new Partner(id)
      this.set(id, partner)
    }
    return partner
  }
}
