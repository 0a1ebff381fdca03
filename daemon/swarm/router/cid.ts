import { createHash } from 'node:crypto'
import { create } from 'multiformats/hashes/digest'
import { sha256 } from 'multiformats/hashes/sha2'
import { algorithmOf, type Digest, hexOf } from '../../../proxy/oci/digest.ts'

/**
 * The hash that a blob goes under in the DHT. A sha256 digest is it itself. kad-dht reads keys from the wire as CIDv0, so it
 * takes no other multihash than sha2-256: a sha512 digest goes under the SHA-256 of its text.
 */
export function hashOf(digest: Digest): Uint8Array {
  return algorithmOf(digest) === 'sha256'
    ? Buffer.from(hexOf(digest), 'hex')
    : createHash('sha256').update(digest).digest()
}

/** The multihash of such a hash. */
export function multihashOf(hash: Uint8Array): Uint8Array {
  return create(sha256.code, hash).bytes
}
