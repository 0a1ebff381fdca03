import type { PeerId } from '../peer-id.ts'
import { MAX_TURNS } from './constants.ts'

/**
 * The order in which a node has offered chunks to its peers, of all blobs together. Each has then chunks at even intervals, and
 * has passed one on before it gets the next: with an order for each blob, layers that are fetched at the same time got in each
 * other's way, and chunks took twice as long to be everywhere.
 */
export class Turns {
  /** The number of each peer's last turn, the one that had it the longest ago first. */
  readonly #last = new Map<PeerId, number>()
  #count = 0

  /** @returns a number that is smaller the longer ago a peer had its turn */
  lastOf(peer: PeerId): number {
    return this.#last.get(peer) ?? 0
  }

  /** A peer is offered a chunk. */
  take(peer: PeerId): void {
    this.#last.delete(peer)
    this.#last.set(peer, ++this.#count)
    const [oldest] = this.#last.keys()
    if (oldest !== undefined && this.#last.size > MAX_TURNS) this.#last.delete(oldest)
  }
}
