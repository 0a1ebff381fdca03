import { hash } from 'node:crypto'
import { peerIdFromString } from '@libp2p/peer-id'
import type { PeerId } from '../ports.ts'

/**
 * Which of the peers are near a key, as {@link nearestPeers} says it, for many keys: it remembers where peers are, and
 * compares 32 bits of a distance, which two of them share once in a million keys.
 */
export class KeySpace {
  readonly #positions = new Map<PeerId, number>()

  add(peer: PeerId): void {
    this.#positions.set(peer, positionOf(peerIdFromString(peer).toMultihash().bytes))
  }

  delete(peer: PeerId): void {
    this.#positions.delete(peer)
  }

  /** The `count` peers nearest to a multihash, nearest first. */
  nearest(multihash: Uint8Array, count: number): readonly PeerId[] {
    const key = positionOf(multihash)
    return [...this.#positions]
      .map(([peer, position]) => ({ peer, distance: (position ^ key) >>> 0 }))
      .sort((a, b) => a.distance - b.distance)
      .slice(0, count)
      .map(({ peer }) => peer)
  }

  /** Whether a peer is among the `count` nearest to a multihash. */
  isNear(peer: PeerId, multihash: Uint8Array, count: number): boolean {
    const own = this.#positions.get(peer)
    if (own === undefined || this.#positions.size <= count) return own !== undefined
    const key = positionOf(multihash)
    const distance = (own ^ key) >>> 0
    let nearer = 0
    for (const position of this.#positions.values()) if ((position ^ key) >>> 0 < distance) nearer++
    return nearer < count
  }
}

function positionOf(bytes: Uint8Array): number {
  return hash('sha256', bytes, 'buffer').readUInt32BE()
}
