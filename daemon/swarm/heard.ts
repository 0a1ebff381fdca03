import type { PeerId } from './peer-id.ts'

/** Peers of which it is known when they were heard last. From more than these nothing comes at the same time. */
const MAX_PEERS = 1_024

/** When bytes of peers came last by links and transfers, beside libp2p. */
export class Heard {
  /** performance.now(), the peer that was heard longest ago first. */
  readonly #at = new Map<PeerId, number>()

  /** Something has come from a peer. */
  readonly note = (peer: PeerId): void => {
    this.#at.delete(peer)
    this.#at.set(peer, performance.now())
    const [oldest] = this.#at.keys()
    if (this.#at.size > MAX_PEERS && oldest !== undefined) this.#at.delete(oldest)
  }

  /** Whether something has come from a peer since then (performance.now()). */
  since(peer: PeerId, time: number): boolean {
    return (this.#at.get(peer) ?? Number.NEGATIVE_INFINITY) > time
  }
}
