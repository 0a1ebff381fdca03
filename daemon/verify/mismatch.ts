import type { Digest } from '../../proxy/oci/digest.ts'

/** The bytes received are not those that the digest names. */
export class DigestMismatch extends Error {
  constructor(digest: Digest, actual: Digest) {
    super(`expected ${digest}, received bytes that have ${actual}`)
    this.name = 'DigestMismatch'
  }
}
