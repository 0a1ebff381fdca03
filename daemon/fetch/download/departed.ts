import type { PeerId } from '../../swarm/ports.ts'
import { MAX_DEPARTED, RETURN_LIMIT_MS, RETURN_MS } from './constants.ts'

interface Departure {
  readonly at: number
  /** For how long the peer is not met again, in ms. */
  readonly pause: number
}

/** Peers that have left an attempt: each is met again later than the last time, as long as others name it. */
export class Departed {
  /** The one that left the longest ago first. */
  readonly #departures = new Map<PeerId, Departure>()

  /** @param now ms of any clock that does not go back */
  add(peer: PeerId, now: number): void {
    const before = this.#departures.get(peer)
    this.#departures.delete(peer)
    const pause = before === undefined ? RETURN_MS : Math.min(before.pause * 2, RETURN_LIMIT_MS)
    this.#departures.set(peer, { at: now, pause })
    const [oldest] = this.#departures.keys()
    if (oldest !== undefined && this.#departures.size > MAX_DEPARTED) this.#departures.delete(oldest)
  }

  /** Whether a peer has left so lately that it is not met again yet. */
  isLately(peer: PeerId, now: number): boolean {
    const departure = this.#departures.get(peer)
    return departure !== undefined && now < departure.at + departure.pause
  }
}
