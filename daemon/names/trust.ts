import type { PeerId } from '../swarm/ports.ts'
import type { KeptNames } from './kept.ts'

/** Peers that the user has accepted, for what they push. */
export class TrustedPeers {
  readonly #kept: KeptNames
  readonly #since: Map<PeerId, number>

  private constructor(kept: KeptNames, since: Map<PeerId, number>) {
    this.#kept = kept
    this.#since = since
  }

  static async open(kept: KeptNames): Promise<TrustedPeers> {
    return new TrustedPeers(kept, await kept.trusted())
  }

  has(peer: PeerId): boolean {
    return this.#since.has(peer)
  }

  /** Who, and since when, in ms since the epoch. */
  list(): readonly { readonly peerId: PeerId; readonly since: number }[] {
    return [...this.#since].map(([peerId, since]) => ({ peerId, since }))
  }

  /** Durable when it returns. @throws where that can't be */
  async add(peer: PeerId, now = Date.now()): Promise<void> {
    await this.#kept.trust(peer, now)
    this.#since.set(peer, now)
  }

  /** @returns whether it was accepted before */
  async remove(peer: PeerId): Promise<boolean> {
    await this.#kept.trust(peer, undefined)
    return this.#since.delete(peer)
  }
}
