import { type KeyObject, sign, verify } from 'node:crypto'
import type { Ed25519PrivateKey } from '@libp2p/interface'
import type { PeerId } from './swarm/ports.ts'
import { publicKeyOf, signingKey } from './swarm/signing.ts'

/** Signs with the key of this node's identity. Whoever signs begins the bytes with a tag that says what they are. */
export class Signer {
  readonly self: PeerId
  readonly #key: KeyObject

  /** @param self the PeerId of the key */
  constructor(key: Pick<Ed25519PrivateKey, 'raw' | 'publicKey'>, self: PeerId) {
    this.self = self
    this.#key = signingKey(key)
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
