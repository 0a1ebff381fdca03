import { createHash } from 'node:crypto'
import { CID } from 'multiformats/cid'
import * as raw from 'multiformats/codecs/raw'
import { create } from 'multiformats/hashes/digest'
import { sha256 } from 'multiformats/hashes/sha2'
import { algorithmOf, type Digest, hexOf } from '../../../proxy/oci/digest.ts'

/**
 * The DHT key of a blob. A sha256 digest is itself the multihash. kad-dht reads keys from the wire as CIDv0, so it takes no
 * other multihash than sha2-256: a sha512 digest goes under the SHA-256 of its text.
 */
export function keyOf(digest: Digest): CID {
  const hash =
    algorithmOf(digest) === 'sha256' ? Buffer.from(hexOf(digest), 'hex') : createHash('sha256').update(digest).digest()
  return CID.createV1(raw.code, create(sha256.code, hash))
}
