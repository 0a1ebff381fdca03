import { hash } from 'node:crypto'
import { peerIdFromString } from '@libp2p/peer-id'
import type { PeerId } from '../ports.ts'

/** Where peers are in the key space, as it is asked for again and again; the one asked for longest ago is forgotten. */
const known = new Map<PeerId, number>()
const maxKnown = 16_384

/**
 * Which of the peers are near a key, as {@link nearestPeers} says it, for many keys: it remembers where peers are, and
 * compares 32 bits of a distance, which two of them share once in a million keys.
 */
export class KeySpace {
  readonly #positions = new Map<PeerId, number>()

  add(peer: PeerId): void {
    this.#positions.set(peer, positionOfPeer(peer))
  }

  delete(peer: PeerId): void {
    this.#positions.delete(peer)
  }

  /** The `count` peers nearest to a multihash, nearest first. */
  nearest(multihash: Uint8Array, count: number): readonly PeerId[] {
    const key = positionOf(multihash)
    return [...this.#positions]
      .map(([peer, position]) => ({ peer, distance: distanceOf(position, key) }))
      .sort((a, b) => a.distance - b.distance)
      .slice(0, count)
      .map(({ peer }) => peer)
  }

  /** Whether a peer is among the `count` nearest to a multihash. */
  isNear(peer: PeerId, multihash: Uint8Array, count: number): boolean {
    const own = this.#positions.get(peer)
    if (own === undefined || this.#positions.size <= count) return own !== undefined
    const key = positionOf(multihash)
    const distance = distanceOf(own, key)
    let nearer = 0
    for (const position of this.#positions.values()) if (distanceOf(position, key) < distance) nearer++
    return nearer < count
  }
}

/** The first 32 bits of where a multihash is in the key space: its SHA-256. */
export function positionOf(multihash: Uint8Array): number {
  return hash('sha256', multihash, 'buffer').readUInt32BE()
}

/** Where a peer is. @throws {Error} for a text that is no PeerId */
export function positionOfPeer(peer: PeerId): number {
  const position = known.get(peer) ?? positionOf(peerIdFromString(peer).toMultihash().bytes)
  known.delete(peer)
  known.set(peer, position)
  const [oldest] = known.keys()
  if (known.size > maxKnown && oldest !== undefined) known.delete(oldest)
  return position
}

/** Distance of two positions: XOR, as a number. */
export function distanceOf(one: number, other: number): number {
  return (one ^ other) >>> 0
}
