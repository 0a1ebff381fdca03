import type { Digest } from '../../proxy/oci/digest.ts'
import type { BlobFiles } from './blob-files.ts'
import type { BlobIndex } from './blob-index.ts'
import type { BlobRecord, Metadata } from './metadata.ts'

interface RemovalsOptions {
  readonly files: BlobFiles
  readonly metadata: Metadata
  readonly index: BlobIndex
  readonly events: {
    stored(digest: Digest, record: BlobRecord): void
    removing(digest: Digest, record: BlobRecord): Promise<void>
  }
  /** Told why a file can't be deleted that was to go for another reason than its room. */
  readonly onStuck: (error: Error) => void
}

/** Removes blobs, each once at a time. */
export class Removals {
  readonly #options: RemovalsOptions
  /** A blob that is fetched again while it is being removed must wait, or the removal would take the new one. */
  readonly #running = new Map<Digest, Promise<Error | undefined>>()

  constructor(options: RemovalsOptions) {
    this.#options = options
  }

  /** Drops a blob; readers that have it open keep their file. What can't be deleted is left for the next start to find. */
  async remove(digest: Digest): Promise<void> {
    await this.#once(digest, false)
  }

  /** Drops a blob for its room. @throws where its file can't be deleted: the blob is held as before */
  async evict(digest: Digest): Promise<void> {
    const error = await this.#once(digest, true)
    if (error !== undefined) throw error
  }

  /** Waits for the removal of a blob that is under way. */
  async settled(digest: Digest): Promise<void> {
    await this.#running.get(digest)
  }

  #once(digest: Digest, isForRoom: boolean): Promise<Error | undefined> {
    const running = this.#running.get(digest)
    if (running !== undefined) return running
    const removal = this.#run(digest, isForRoom).finally(() => this.#running.delete(digest))
    this.#running.set(digest, removal)
    return removal
  }

  /** Gives why the file is still there. */
  async #run(digest: Digest, isForRoom: boolean): Promise<Error | undefined> {
    const { files, metadata, index, events, onStuck } = this.#options
    const record = index.get(digest)
    if (record === undefined) return undefined
    await events.removing(digest, record)
    index.remove(digest)
    // The file goes first: a record without a file is noticed when it is opened, a file without a record is adopted.
    const error = await files.unlink(digest)
    if (error !== undefined && isForRoom) {
      // It takes its room in any case.
      index.add(digest, record)
      events.stored(digest, record)
      return error
    }
    if (error !== undefined) onStuck(error)
    await metadata.deleteBlob(digest).catch(() => {})
    return error
  }
}
