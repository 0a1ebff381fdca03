import type { Digest } from '../../proxy/oci/digest.ts'
import type { BlobStore } from '../store/blob-store.ts'
import type { BlobFacts } from '../store/metadata.ts'

/** Keeps a manifest. */
export type KeepManifest = (digest: Digest, bytes: Uint8Array, facts: BlobFacts) => Promise<void>

/**
 * Keeps manifests whose bytes came with the answer to what a tag is: some registries give them by tag only. They have the
 * digest, which was computed from them.
 */
export function manifestKeeper(
  store: Pick<BlobStore, 'has' | 'addFacts' | 'stage'>,
  onUncached: (digest: Digest, error: unknown) => void,
): KeepManifest {
  return async (digest, bytes, facts) => {
    if (store.has(digest)) return void (await store.addFacts(digest, facts))
    let staging: Awaited<ReturnType<BlobStore['stage']>> | undefined
    try {
      staging = await store.stage(digest, bytes.length, () => {})
      await staging.blob.write(bytes)
      await staging.blob.finish()
      await staging.commit(facts)
    } catch (error) {
      // It is asked for again by its digest.
      onUncached(digest, error)
      await staging?.abort().catch(() => {})
    } finally {
      await staging?.blob.close().catch(() => {})
    }
  }
}
