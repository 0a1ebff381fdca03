import type { PeerId } from './ports.ts'

/** Long enough to outlast the blob that was poisoned, short enough that a repaired peer comes back by itself. */
const BAN_MS = 10 * 60_000

/** Bound of the list; the oldest is forgotten first. */
const MAX_BANS = 1024

interface Ban {
  readonly until: number
  readonly reason: string
}

/** Peers that are left alone for a time, in memory only. */
export class Bans {
  readonly #bans = new Map<PeerId, Ban>()

  add(peer: PeerId, reason: string): void {
    this.#bans.delete(peer)
    this.#bans.set(peer, { until: Date.now() + BAN_MS, reason })
    for (const oldest of this.#bans.keys()) {
      if (this.#bans.size <= MAX_BANS) break
      this.#bans.delete(oldest)
    }
  }

  has(peer: PeerId): boolean {
    const ban = this.#bans.get(peer)
    if (ban === undefined) return false
    if (ban.until > Date.now()) return true
    this.#bans.delete(peer)
    return false
  }

  list(): readonly { readonly peerId: PeerId; readonly until: number; readonly reason: string }[] {
    return [...this.#bans]
      .filter(([peer]) => this.has(peer))
      .map(([peerId, { until, reason }]) => ({ peerId, until, reason }))
  }
}
