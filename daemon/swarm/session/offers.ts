import type { PeerId } from '../peer-id.ts'
import {
  ASK_LIMIT_MS,
  ASK_MS,
  ASK_TIMES,
  ASK_WEIGHT,
  MANY_UNASKED,
  MAX_OFFERED,
  MAX_UNASKED,
  OFFER_UNASKED_MS,
  REQUESTS_ALIKE,
} from './constants.ts'

/** Whom to offer the next chunk. */
interface Place {
  /** The number of the last offer to it: smaller the longer ago that was. */
  turn: number
  /** Requests for chunks that it has under way, as it told, and what it was offered since; undefined where it does not tell. */
  requests: number | undefined
}

interface Offer {
  readonly peer: PeerId
  readonly blob: string
  readonly madeAt: number
}

/**
 * What a node has offered its peers, of all blobs together: whose turn it is, and what has not been asked for yet.
 *
 * With an order for each blob, layers that are fetched at the same time got in each other's way, and chunks took twice as long
 * to be everywhere; with a count for each, all of them took the same free uploads.
 */
export class Offers {
  /** The one that was offered something, or told something, the longest ago first. */
  readonly #places = new Map<PeerId, Place>()
  #count = 0
  /** What may still be asked for soon, by peer, blob and chunk, the oldest first. */
  readonly #awaited = new Map<string, Offer>()
  /** The same of each blob. */
  readonly #ofBlobs = new Map<string, Set<string>>()
  /** What nobody asked for in time. */
  readonly #lapsed = new Map<string, Offer>()
  /** How many of both each peer was offered. */
  readonly #unasked = new Map<PeerId, number>()
  /** From an offer to its question, in ms, smoothed: messages may wait behind chunks, or for a busy CPU. */
  #askMs = 0

  /**
   * Orders peers: who has few requests under way, whose line has room, comes first; of those that have about as many, who was
   * offered something the longest ago. Nobody has to wait for more than a few rounds because of what others tell: that may be false.
   * @returns less than 0 where `one` comes before `other`
   */
  compare(one: PeerId, other: PeerId): number {
    const a = this.#places.get(one)
    const b = this.#places.get(other)
    const turns = (a?.turn ?? 0) - (b?.turn ?? 0)
    return Math.abs(turns) > this.#places.size ? turns : levelOf(a) - levelOf(b) || turns
  }

  /** A peer tells how many requests for chunks it has under way, of all blobs and to all peers. */
  told(peer: PeerId, requests: number): void {
    this.#place(peer, { turn: this.#places.get(peer)?.turn ?? 0, requests })
  }

  /** A peer is gone: a round is as long as there are peers. */
  left(peer: PeerId): void {
    this.#places.delete(peer)
  }

  /** A peer is offered a chunk. */
  make(peer: PeerId, blob: string, chunk: number, now: number): void {
    const requests = this.#places.get(peer)?.requests
    this.#place(peer, { turn: ++this.#count, requests: requests === undefined ? undefined : requests + 1 })
    const key = keyOf(peer, blob, chunk)
    this.#remove(key)
    this.#awaited.set(key, { peer, blob, madeAt: now })
    this.#unasked.set(peer, this.#unaskedOf(peer) + 1)
    const ofBlob = this.#ofBlobs.get(blob) ?? new Set()
    this.#ofBlobs.set(blob, ofBlob.add(key))
  }

  /** A peer asks for a chunk, whether it was offered it or not. */
  asked(peer: PeerId, blob: string, chunk: number, now: number): void {
    const offer = this.#remove(keyOf(peer, blob, chunk))
    if (offer === undefined) return
    this.#askMs += (Math.min(now - offer.madeAt, ASK_LIMIT_MS) - this.#askMs) * ASK_WEIGHT
  }

  /** A peer has got a chunk elsewhere. */
  drop(peer: PeerId, blob: string, chunk: number): void {
    this.#remove(keyOf(peer, blob, chunk))
  }

  /** A blob is not offered any more; to one peer, where it is named. */
  forget(blob: string, peer?: PeerId): void {
    const start = peer === undefined ? '' : `${peer} `
    for (const key of this.#ofBlobs.get(blob) ?? []) if (key.startsWith(start)) this.#remove(key)
  }

  /** Whether a chunk was offered to a peer that has not asked for it; known for twice {@link OFFER_UNASKED_MS}. */
  isUnasked(peer: PeerId, blob: string, chunk: number): boolean {
    const key = keyOf(peer, blob, chunk)
    return this.#awaited.has(key) || this.#lapsed.has(key)
  }

  /** Whether a peer asks for so little of what it was offered that it is no use to offer it more for now. */
  isDeaf(peer: PeerId): boolean {
    return this.#unaskedOf(peer) >= MAX_UNASKED
  }

  /** How many may still be asked for soon, by peers that do ask. @param but a blob of which they are not counted */
  awaited(now: number, but?: string): number {
    this.#expire(now)
    let count = 0
    for (const { peer, blob } of this.#awaited.values())
      if (blob !== but && this.#unaskedOf(peer) < MANY_UNASKED) count++
    return count
  }

  /** How many are of one blob, as of the last `awaited`. */
  awaitedOf(blob: string): number {
    return this.#ofBlobs.get(blob)?.size ?? 0
  }

  /** When the first of them is not awaited any more, in ms of the caller's clock. */
  get lapsesAt(): number {
    const [first] = this.#awaited.values()
    return first === undefined ? Number.POSITIVE_INFINITY : first.madeAt + this.#waitMs
  }

  get #waitMs(): number {
    return Math.min(Math.max(ASK_MS, this.#askMs * ASK_TIMES), ASK_LIMIT_MS)
  }

  #unaskedOf(peer: PeerId): number {
    return this.#unasked.get(peer) ?? 0
  }

  #expire(now: number): void {
    for (const [key, offer] of this.#awaited) {
      if (now < offer.madeAt + this.#waitMs) break
      this.#endWait(key, offer)
      this.#lapsed.set(key, offer)
    }
    for (const [key, { madeAt }] of this.#lapsed) {
      if (now < madeAt + 2 * OFFER_UNASKED_MS && this.#lapsed.size <= MAX_OFFERED) break
      this.#remove(key)
    }
  }

  #remove(key: string): Offer | undefined {
    const offer = this.#awaited.get(key) ?? this.#lapsed.get(key)
    if (offer === undefined) return undefined
    this.#endWait(key, offer)
    this.#lapsed.delete(key)
    const left = this.#unaskedOf(offer.peer) - 1
    if (left > 0) this.#unasked.set(offer.peer, left)
    else this.#unasked.delete(offer.peer)
    return offer
  }

  #endWait(key: string, { blob }: Offer): void {
    this.#awaited.delete(key)
    const ofBlob = this.#ofBlobs.get(blob)
    ofBlob?.delete(key)
    if (ofBlob?.size === 0) this.#ofBlobs.delete(blob)
  }

  #place(peer: PeerId, place: Place): void {
    this.#places.delete(peer)
    this.#places.set(peer, place)
    const [oldest] = this.#places.keys()
    if (oldest !== undefined && this.#places.size > MAX_OFFERED) this.#places.delete(oldest)
  }
}

function levelOf(place: Place | undefined): number {
  return Math.floor((place?.requests ?? 0) / REQUESTS_ALIKE)
}

function keyOf(peer: PeerId, blob: string, chunk: number): string {
  return `${peer} ${blob} ${chunk}`
}
