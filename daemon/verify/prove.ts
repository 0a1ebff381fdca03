import type { Hash } from 'node:crypto'
import { algorithmOf, createDigestHash, type Digest, finishDigest } from '../../proxy/oci/digest.ts'
import { DigestMismatch } from './mismatch.ts'
import { releasableBytes } from './quarter.ts'

/** A prefix of a blob that was hashed already. */
export interface HashedPrefix {
  /** Bytes. */
  readonly length: number
  readonly hash: Hash
}

/**
 * Passes a blob's bytes on as they arrive, but the last quarter only after the digest is proven.
 * For content that can't be staged in the store; memory is bounded by two quarters.
 * @param body the bytes after `prefix`, to the end of the blob; each valid until the next is asked for
 * @param size of the whole blob in bytes, if known
 * @throws {DigestMismatch}
 */
export async function* prove(
  body: AsyncIterable<Uint8Array>,
  digest: Digest,
  size: number | undefined,
  prefix: HashedPrefix = { length: 0, hash: createDigestHash(algorithmOf(digest)) },
): AsyncGenerator<Uint8Array, void, void> {
  const { hash } = prefix
  let received = prefix.length
  let released = prefix.length
  /** Copies of what was received and not released yet. */
  const withheld: Uint8Array[] = []
  for await (const piece of body) {
    hash.update(piece)
    received += piece.length
    const limit = releasableBytes(received, size)
    while (withheld[0] !== undefined && released + withheld[0].length <= limit) {
      released += withheld[0].length
      yield withheld[0]
      withheld.shift()
    }
    if (withheld.length === 0 && received <= limit) {
      released += piece.length
      yield piece
    } else {
      withheld.push(Uint8Array.from(piece))
    }
  }
  const actual = finishDigest(algorithmOf(digest), hash)
  if (actual !== digest) throw new DigestMismatch(digest, actual)
  yield* withheld
}
