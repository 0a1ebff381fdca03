import { Places } from '../limits/places.ts'
import { PEER_SHARE, TAKING_PATIENCE_MS } from './constants.ts'

/** What a request does with its place among the uploads. */
export interface UploadPlace {
  /** A piece is given to the peer to take. */
  writing(): void
  /** It has taken it. */
  written(): void
  /** Gives the place back. */
  end(): void
}

/**
 * The blob bodies being sent: how many at the same time, and how many to one peer. Where others wait for a place, whoever takes
 * nothing loses its one, and whoever has more than others. A slow peer may be slow for as long as nobody else waits.
 */
export class Uploads {
  readonly #places: Places
  readonly #ofPeer: number

  /** @param limit bodies at the same time */
  constructor(limit: number, now?: () => number) {
    this.#places = new Places({ limit, patienceMs: TAKING_PATIENCE_MS, gives: 'first', now })
    // No peer may take all uploads.
    this.#ofPeer = Math.max(1, Math.ceil(limit / PEER_SHARE))
  }

  /**
   * A place for a peer; undefined where it has to come again.
   * @param cut ends the upload, for one that waits
   */
  begin(fingerprint: string, cut: () => void): UploadPlace | undefined {
    if (this.#places.countOf(fingerprint, 0) >= this.#ofPeer) return undefined
    const place = this.#places.take([fingerprint], cut)
    // Until it is given something, it waits for this node.
    place?.rests()
    return place && { writing: () => place.moved(), written: () => place.rests(), end: () => place.leave() }
  }
}
