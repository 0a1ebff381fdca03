import type { Digest } from '../../proxy/oci/digest.ts'
import type { BlobFiles } from './blob-files.ts'
import type { BlobIndex } from './blob-index.ts'
import type { StoreFolders } from './folders.ts'
import type { BlobRecord, Metadata } from './metadata.ts'
import type { Partials } from './partials.ts'

/** Folders were removed under the running node. @param problem why they can't be made anew; undefined where they were */
export type OnFoldersLost = (folders: readonly string[], problem: string | undefined) => void

interface RestorationOptions {
  readonly folders: StoreFolders
  readonly files: BlobFiles
  readonly metadata: Metadata
  readonly index: BlobIndex
  readonly partials: () => Partials
  /** Removes a blob, unless another file than that of the record has come in its place. */
  readonly remove: (digest: Digest, seen: BlobRecord) => Promise<void>
  readonly onFoldersLost: OnFoldersLost
}

/**
 * Makes the data directory anew where somebody has removed it, or a part of it, under the running node, which would otherwise never
 * store anything again.
 */
export class Restoration {
  readonly #options: RestorationOptions
  #problem: string | undefined

  constructor(options: RestorationOptions) {
    this.#options = options
  }

  /** Why nothing can be stored; undefined where all is well. */
  get problem(): string | undefined {
    return this.#problem
  }

  /** Looks whether all is there, and makes anew what is not; never throws. */
  async look(): Promise<void> {
    const { folders, metadata, onFoldersLost } = this.#options
    const lost = await folders.lost()
    const isMetadataLost = await metadata.isLost()
    if (lost.length === 0 && !isMetadataLost) {
      this.#problem = undefined
      return
    }
    const before = this.#problem
    this.#problem = await this.#makeAnew(isMetadataLost).then(
      () => undefined,
      (error: unknown) => `the data directory was removed and can't be made anew: ${(error as Error).message}`,
    )
    if (this.#problem === undefined || this.#problem !== before) {
      onFoldersLost([...lost, ...(isMetadataLost ? [metadata.folder] : [])], this.#problem)
    }
  }

  async #makeAnew(isMetadataLost: boolean): Promise<void> {
    await this.#options.folders.make()
    await this.#options.partials().dropLost()
    if (isMetadataLost) await this.#options.metadata.reopen()
    // Takes its time where peers have to be told of many.
    void this.#forgetLost(isMetadataLost).catch(() => {})
  }

  /** Forgets blobs whose files are gone, and writes the records of the others where those are. */
  async #forgetLost(isMetadataLost: boolean): Promise<void> {
    const { files, metadata, index, remove } = this.#options
    const kept = new Map<Digest, BlobRecord>()
    for (const digest of index.newestFirst()) {
      const record = index.get(digest)
      if (record === undefined) continue
      if (await files.has(digest)) kept.set(digest, record)
      else await remove(digest, record)
    }
    if (isMetadataLost) await metadata.putBlobs(kept)
  }
}
