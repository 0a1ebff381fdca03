import { createHash, type Hash } from 'node:crypto'
import { OciError } from './errors.ts'

declare const digestBrand: unique symbol

/** A content address `algorithm:hex` that was checked by {@link parseDigest} (OCI image-spec 1.1, "Digests"). */
export type Digest = string & { readonly [digestBrand]: true }

export type DigestAlgorithm = 'sha256' | 'sha512'

const hexLength: Readonly<Record<DigestAlgorithm, number>> = { sha256: 64, sha512: 128 }

const digestPattern = /^(?:sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$/

/**
 * Checks a digest. Only the two registered algorithms are known; hex must be lower case, as the spec demands.
 * @throws {OciError} DIGEST_INVALID
 */
export function parseDigest(text: string): Digest {
  if (isDigest(text)) return text
  const shown = text.length > 80 ? `${text.slice(0, 80)}…` : text
  throw new OciError(
    'DIGEST_INVALID',
    `"${shown}" is not a digest: expected sha256:<64 hex> or sha512:<128 hex>, in lower case`,
  )
}

export function isDigest(text: string): text is Digest {
  return digestPattern.test(text)
}

export function algorithmOf(digest: Digest): DigestAlgorithm {
  return digest.slice(0, digest.indexOf(':')) as DigestAlgorithm
}

export function hexOf(digest: Digest): string {
  return digest.slice(digest.indexOf(':') + 1)
}

/** A digest from an algorithm and hex, as found in file names of an OCI image layout; undefined where they don't make one. */
export function digestFrom(algorithm: string, hex: string): Digest | undefined {
  const text = `${algorithm}:${hex}`
  return isDigest(text) ? text : undefined
}

/** A running hash for the digest's algorithm. */
export function createDigestHash(algorithm: DigestAlgorithm): Hash {
  return createHash(algorithm)
}

export function digestOf(bytes: Uint8Array, algorithm: DigestAlgorithm = 'sha256'): Digest {
  return finishDigest(algorithm, createHash(algorithm).update(bytes))
}

/** Ends a running hash and gives the digest of what it saw. */
export function finishDigest(algorithm: DigestAlgorithm, hash: Hash): Digest {
  const hex = hash.digest('hex')
  if (hex.length !== hexLength[algorithm]) throw new TypeError(`a ${algorithm} hash gave ${hex.length} hex digits`)
  return `${algorithm}:${hex}` as Digest
}
