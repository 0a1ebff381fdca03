import { createPrivateKey, createPublicKey, type KeyObject } from 'node:crypto'
import type { Ed25519PrivateKey } from '@libp2p/interface'
import { peerIdFromString } from '@libp2p/peer-id'
import type { PeerId } from './peer-id.ts'

/** Bytes of an Ed25519 signature (RFC 8032). */
export const SIGNATURE_BYTES = 64

/** Bytes of the seed of an Ed25519 key, which comes first in libp2p's raw form (RFC 8032, 5.1.5). */
const seedBytes = 32

/** Characters of a PeerId; those of Ed25519 keys have 52. */
const maxCharacters = 128

/** Public keys that are kept. A key beyond these is made again for each signature, in some 60 us. */
const maxKeys = 1_024

/** The one used longest ago first. */
const keys = new Map<PeerId, KeyObject>()

/** The node's key as Node's crypto takes it, which signs faster than libp2p. */
export function signingKey({ raw, publicKey }: Pick<Ed25519PrivateKey, 'raw' | 'publicKey'>): KeyObject {
  const d = base64url(raw.subarray(0, seedBytes))
  return createPrivateKey({ key: { ...jwkOf(publicKey.raw), d }, format: 'jwk' })
}

/** The key that a PeerId is; undefined for keys other than Ed25519. @throws {Error} for a text that is no PeerId */
export function publicKeyOf(peer: PeerId): KeyObject | undefined {
  const key = keys.get(peer) ?? makePublicKey(peer)
  if (key === undefined) return undefined
  keys.delete(peer)
  keys.set(peer, key)
  const [oldest] = keys.keys()
  if (keys.size > maxKeys && oldest !== undefined) keys.delete(oldest)
  return key
}

function makePublicKey(peer: PeerId): KeyObject | undefined {
  if (peer.length > maxCharacters) return undefined
  const id = peerIdFromString(peer)
  return id.type === 'Ed25519' ? createPublicKey({ key: jwkOf(id.publicKey.raw), format: 'jwk' }) : undefined
}

/** RFC 8037. */
function jwkOf(publicKey: Uint8Array) {
  return { kty: 'OKP', crv: 'Ed25519', x: base64url(publicKey) }
}

function base64url(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64url')
}
