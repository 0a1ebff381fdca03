import type { PeerId } from '../peer-id.ts'
import { ASK_LIMIT_MS, ASK_MS, ASK_TIMES, ASK_WEIGHT, MAX_OFFERED, REQUESTS_ALIKE } from './constants.ts'

/** Whom to offer the next chunk. */
interface Place {
  /** The number of the last offer to it: smaller the longer ago that was. */
  turn: number
  /** Requests for chunks that it has under way, as it told; and what it was offered since. */
  requests: number
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
  /** When what has not been asked for was offered, the oldest first. */
  readonly #made = new Map<string, number>()
  /** From an offer to its question, in ms, smoothed: messages may wait behind chunks, or for a busy CPU. */
  #askMs = 0

  /**
   * Orders peers: who has few requests under way, whose line has room, comes first; of those that have about as many, who was
   * offered something the longest ago.
   * @returns less than 0 where `one` comes before `other`
   */
  compare(one: PeerId, other: PeerId): number {
    const a = this.#places.get(one)
    const b = this.#places.get(other)
    return levelOf(a) - levelOf(b) || (a?.turn ?? 0) - (b?.turn ?? 0)
  }

  /** A peer tells how many requests for chunks it has under way, of all blobs and to all peers. */
  told(peer: PeerId, requests: number): void {
    this.#place(peer, { turn: this.#places.get(peer)?.turn ?? 0, requests })
  }

  /** A peer is offered a chunk. */
  make(peer: PeerId, blob: string, chunk: number, now: number): void {
    this.#place(peer, { turn: ++this.#count, requests: (this.#places.get(peer)?.requests ?? 0) + 1 })
    this.#made.set(keyOf(peer, blob, chunk), now)
  }

  /** A peer asks for a chunk, whether it was offered it or not. */
  asked(peer: PeerId, blob: string, chunk: number, now: number): void {
    const key = keyOf(peer, blob, chunk)
    const madeAt = this.#made.get(key)
    if (madeAt === undefined) return
    this.#made.delete(key)
    this.#askMs += (now - madeAt - this.#askMs) * ASK_WEIGHT
  }

  /** A peer has got a chunk elsewhere. */
  drop(peer: PeerId, blob: string, chunk: number): void {
    this.#made.delete(keyOf(peer, blob, chunk))
  }

  /** How many may still be asked for soon. */
  awaited(now: number): number {
    let awaited = 0
    for (const [key, madeAt] of this.#made) {
      // What is asked for as late as this is not learnt from any more.
      if (madeAt + 2 * ASK_LIMIT_MS <= now) this.#made.delete(key)
      else if (now < madeAt + this.#waitMs) awaited++
    }
    return awaited
  }

  /** When the first of them is not awaited any more, in ms of the caller's clock. */
  lapsesAt(now: number): number {
    for (const madeAt of this.#made.values()) if (now < madeAt + this.#waitMs) return madeAt + this.#waitMs
    return Number.POSITIVE_INFINITY
  }

  get #waitMs(): number {
    return Math.min(Math.max(ASK_MS, this.#askMs * ASK_TIMES), ASK_LIMIT_MS)
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
