import { createPrivateKey, createPublicKey, type KeyObject, sign, verify } from 'node:crypto'
import type { Ed25519PrivateKey } from '@libp2p/interface'
import { peerIdFromString } from '@libp2p/peer-id'
import { MAX_PEER_ID_CHARACTERS } from './share/wire/limits.ts'
import type { PeerId } from './swarm/ports.ts'

/** Bytes of the seed of an Ed25519 key, which comes first in libp2p's raw form (RFC 8032, 5.1.5). */
const seedBytes = 32

/** Public keys that are kept. A blob has one reader at a time. A key beyond these is made again for each signature, in some 60 us. */
const MAX_KEYS = 256

/** Signs with the key of this node's identity. Whoever signs begins the bytes with a tag that says what they are. */
export class Signer {
  readonly self: PeerId
  readonly #key: KeyObject

  /** @param self the PeerId of the key */
  constructor({ raw, publicKey }: Pick<Ed25519PrivateKey, 'raw' | 'publicKey'>, self: PeerId) {
    this.self = self
    const d = base64url(raw.subarray(0, seedBytes))
    this.#key = createPrivateKey({ key: { ...jwkOf(publicKey.raw), d }, format: 'jwk' })
  }

  /** @returns 64 bytes (Ed25519, RFC 8032) */
  sign(bytes: Uint8Array): Uint8Array {
    return sign(null, bytes, this.#key)
  }
}

/** Whether a peer has signed the bytes. False for malformed arguments, and for peers with keys other than Ed25519. */
export function hasSigned(peer: PeerId, bytes: Uint8Array, signature: Uint8Array): boolean {
  try {
    const key = publicKeyOf(peer)
    return key !== undefined && verify(null, bytes, key, signature)
  } catch {
    return false
  }
}

/** The one used longest ago first. */
const keys = new Map<PeerId, KeyObject>()

/** @throws {Error} for a text that is no PeerId */
function publicKeyOf(peer: PeerId): KeyObject | undefined {
  const key = keys.get(peer) ?? makePublicKey(peer)
  if (key === undefined) return undefined
  keys.delete(peer)
  keys.set(peer, key)
  const [oldest] = keys.keys()
  if (keys.size > MAX_KEYS && oldest !== undefined) keys.delete(oldest)
  return key
}

function makePublicKey(peer: PeerId): KeyObject | undefined {
  if (peer.length > MAX_PEER_ID_CHARACTERS) return undefined
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
