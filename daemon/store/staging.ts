import type { Digest } from '../../proxy/oci/digest.ts'
import type { BlobFiles } from './blob-files.ts'
import type { Placement } from './partials.ts'
import type { Quota } from './quota.ts'
import type { PlacedFacts } from './record.ts'
import { StagedBlob } from './staged-blob.ts'

/**
 * A blob on its way into the store. `commit` ends it, or `abort` (also after a `commit` that failed); its file stays open
 * for readers until `blob.close()`.
 */
export interface Staging {
  readonly blob: StagedBlob
  /** After `blob.finish()`: makes the blob durable and puts it into its place. */
  commit(facts: PlacedFacts): Promise<void>
  abort(): Promise<void>
}

interface StagingOptions {
  readonly digest: Digest
  /** Bytes; undefined where they are not known yet. */
  readonly size: number | undefined
  readonly onProgress: () => void
  readonly files: BlobFiles
  readonly quota: Quota
  readonly place: (placement: Placement) => Promise<void>
}

/** Starts a blob. @throws {StoreError} quota, no-space, io */
export async function stageBlob(options: StagingOptions): Promise<Staging> {
  const { digest, size, onProgress, files, quota, place } = options
  let written = 0
  const reservation = await quota.reserve(size ?? 0)
  const release = () => quota.end(reservation)
  const staged = await files.stage().catch((error: unknown) => {
    release()
    throw error
  })
  const blob = new StagedBlob({
    digest,
    file: staged.file,
    onProgress,
    reserve: async (bytes) => {
      written += bytes
      if (written > reservation.bytes) await quota.grow(reservation, written - reservation.bytes)
    },
  })
  reservation.written = () => blob.readable
  return {
    blob,
    commit: async (facts) => {
      await blob.sync()
      await place({ digest, path: staged.path, size: blob.readable, facts, onPlaced: release })
    },
    abort: async () => {
      release()
      await files.unlinkStaged(staged.path)
    },
  }
}
