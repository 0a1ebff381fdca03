import type { Digest } from '../../proxy/oci/digest.ts'
import type { PeerId } from '../swarm/ports.ts'
import { Acquaintance } from './acquaintance.ts'
import type { SharedEntry } from './entry.ts'
import type { Event } from './plan/steps.ts'

/** Blobs that a peer may speak of at the same time. */
const MAX_BLOBS = 4_096

/** How long a peer that was named may take to say what it has of a blob, in ms, before it counts as one that has nothing. */
const ANSWER_MS = 5_000

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
  /** When bytes of a part came or left last, in ms of {@link Clock}. */
  readonly movedAt = { in: Number.NEGATIVE_INFINITY, out: Number.NEGATIVE_INFINITY }
  /** Blobs by the numbers under which the peer speaks of them. */
  readonly #names = new Map<number, Digest>()
  #lastNumber = 0

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

  /** What it told of a blob and the plan was not told, as it could not be used until now. */
  usable(digest: Digest): Event & { readonly log: readonly number[] } {
    const log = this.acquaintances.get(digest)?.usable() ?? []
    const news = { free: this.free, blobs: [{ blob: digest, log }] }
    return { kind: 'message', from: this.id, message: { kind: 'news', news }, log }
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

  /** Whether one of them has not said yet what it has of a blob, and may still do so. */
  mayAnswer(entry: SharedEntry): boolean {
    const oldest = performance.now() - ANSWER_MS
    for (const [, { hasAnswered, metAt }] of this.acquaintances(entry)) if (!hasAnswered && metAt > oldest) return true
    return false
  }

  /** Who speaks of a blob here, and what was said of it. */
  *acquaintances({ digest, peers }: SharedEntry): Generator<readonly [Partner, Acquaintance]> {
    for (const peer of peers) {
      const partner = this.get(peer)
      const acquaintance = partner?.acquaintances.get(digest)
      if (partner !== undefined && acquaintance !== undefined) yield [partner, acquaintance]
    }
  }
}
