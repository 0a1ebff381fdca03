import { createHash } from 'node:crypto'
import { peerIdFromString } from '@libp2p/peer-id'
import type { PeerId } from '../ports.ts'

/** Where peers are in the key space, as it is asked for again and again; the oldest are forgotten. */
const places = new Map<PeerId, Buffer>()
const maxPlaces = 4096

/** The `count` peers nearest to a multihash in kad-dht's key space, nearest first: XOR of the SHA-256 of both. */
export function nearestPeers(peers: readonly PeerId[], multihash: Uint8Array, count: number): readonly PeerId[] {
  const target = sha256(multihash)
  return peers
    .map((peer) => ({ peer, distance: xor(placeOf(peer), target) }))
    .sort((a, b) => Buffer.compare(a.distance, b.distance))
    .slice(0, count)
    .map(({ peer }) => peer)
}

function placeOf(peer: PeerId): Buffer {
  const known = places.get(peer)
  if (known !== undefined) return known
  const place = sha256(peerIdFromString(peer).toMultihash().bytes)
  places.set(peer, place)
  const [oldest] = places.keys()
  if (places.size > maxPlaces && oldest !== undefined) places.delete(oldest)
  return place
}

function sha256(bytes: Uint8Array): Buffer {
  return createHash('sha256').update(bytes).digest()
}

function xor(a: Buffer, b: Buffer): Buffer {
  return Buffer.from(a.map((byte, index) => byte ^ (b[index] ?? 0)))
}
