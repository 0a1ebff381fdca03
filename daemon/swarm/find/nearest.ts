import { createHash } from 'node:crypto'
import { peerIdFromString } from '@libp2p/peer-id'
import type { PeerId } from '../ports.ts'

/** The `count` peers nearest to a multihash in kad-dht's key space: XOR of the SHA-256 of both. */
export function nearestPeers(peers: readonly PeerId[], multihash: Uint8Array, count: number): readonly PeerId[] {
  if (peers.length <= count) return peers
  const target = sha256(multihash)
  return peers
    .map((peer) => ({ peer, distance: xor(sha256(peerIdFromString(peer).toMultihash().bytes), target) }))
    .sort((a, b) => Buffer.compare(a.distance, b.distance))
    .slice(0, count)
    .map(({ peer }) => peer)
}

function sha256(bytes: Uint8Array): Buffer {
  return createHash('sha256').update(bytes).digest()
}

function xor(a: Buffer, b: Buffer): Buffer {
  return Buffer.from(a.map((byte, index) => byte ^ (b[index] ?? 0)))
}
