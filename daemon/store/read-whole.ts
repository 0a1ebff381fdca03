import type { Digest } from '../../proxy/oci/digest.ts'
import { maxManifestBytes } from '../../proxy/oci/manifest.ts'
import type { BlobStore } from './blob-store.ts'

/** A manifest or a configuration is read from the disk within this time, in ms. */
const readTimeout = 60_000

/**
 * Reads a manifest or a configuration that the store has, without counting as a use.
 * @returns undefined where it is not there, or too long for what it should be
 * @throws where it is there and can't be read
 */
export async function readWhole(
  store: Pick<BlobStore, 'openUntouched'>,
  digest: Digest,
): Promise<Uint8Array | undefined> {
  const blob = await store.openUntouched(digest)
  if (blob === undefined) return undefined
  try {
    const { size } = blob.record
    if (size > maxManifestBytes) return undefined
    if (size === 0) return new Uint8Array()
    const bytes = Buffer.allocUnsafe(size)
    let length = 0
    for await (const piece of blob.read(0, size - 1, AbortSignal.timeout(readTimeout))) {
      bytes.set(piece, length)
      length += piece.length
    }
    return bytes.subarray(0, length)
  } finally {
    await blob.close()
  }
}
