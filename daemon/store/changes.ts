import type { Digest } from '../../proxy/oci/digest.ts'
import type { BlobFiles } from './blob-files.ts'
import type { BlobIndex } from './blob-index.ts'
import type { BlobFacts, BlobRecord, Metadata } from './metadata.ts'
import type { Placement } from './partials.ts'
import { placesAfter } from './record.ts'
import { Turns } from './turns.ts'

export interface BlobStoreEvents {
  /** A blob was completed; or more is known of one, of which `before` was known. */
  stored(digest: Digest, record: BlobRecord, before?: BlobRecord): void
  /** A blob is about to be deleted; deletion waits for the promise. */
  removing(digest: Digest, record: BlobRecord): Promise<void>
}

interface ChangesOptions {
  readonly files: BlobFiles
  readonly metadata: Metadata
  readonly index: BlobIndex
  readonly events: BlobStoreEvents
  /** Told why a file can't be deleted that was to go for another reason than its room. */
  readonly onStuck: (error: Error) => void
  readonly now: () => number
}

/**
 * Everything that changes the file or the record of a blob. Changes of one blob happen one after the other, so what a change has read
 * is still true when it writes. A decision that was made before its turn, such as to evict, is looked at again when the turn comes.
 */
export class BlobChanges {
  readonly #options: ChangesOptions
  readonly #turns = new Turns()

  constructor(options: ChangesOptions) {
    this.#options = options
  }

  /** Gives a file the name and the record of its blob. @throws where that fails: nothing of it is left then */
  async place(placement: Placement): Promise<void> {
    const { digest, path, size, facts, checkpoints, onPlaced } = placement
    const { files, metadata, index } = this.#options
    await this.#turns.take(digest, async () => {
      if (checkpoints !== undefined) await metadata.putCheckpoints(digest, checkpoints)
      try {
        await files.mark(path, facts.kept ?? index.get(digest)?.kept ?? false)
        await files.place(path, digest)
        await this.#record(digest, size, facts, onPlaced)
      } catch (error) {
        // Also where it has its name already, but the folder can't be made durable.
        if (index.get(digest) === undefined) await files.unlink(digest)
        throw error
      }
    })
  }

  /** Adds to what is known of a blob that is held: that it is public, or in one more repository. */
  async addFacts(digest: Digest, facts: BlobFacts): Promise<void> {
    const { index, metadata, events } = this.#options
    await this.#turns.take(digest, async () => {
      const before = index.get(digest)
      if (before === undefined) return
      const after = placesAfter(before, facts)
      const isSame = after.public === before.public && after.repositories === before.repositories
      if (isSame && after.publicIn === before.publicIn) return
      const record = { ...before, ...after }
      index.update(digest, record)
      await metadata.putFacts(digest, record)
      events.stored(digest, record, before)
    })
  }

  /**
   * Keeps a blob that is held; durable when it returns. Or lets it be evicted again, which a full disk does not prevent: a record that
   * still says otherwise is one of a blob that nobody names, and is set right at the next start.
   * @returns false where it is not held
   * @throws {StoreError} no-space, io, where it can't be kept
   */
  async setKept(digest: Digest, isKept: boolean): Promise<boolean> {
    const { index, metadata } = this.#options
    return await this.#turns.take(digest, async () => {
      const before = index.get(digest)
      if (before === undefined || (before.kept ?? false) === isKept) return before !== undefined
      const record = await this.#mark(digest, before, isKept)
      if (!isKept) {
        await metadata.putFacts(digest, record)
        return true
      }
      try {
        await metadata.putBlob(digest, record)
      } catch (error) {
        await this.#mark(digest, index.get(digest) ?? before, false)
        throw error
      }
      return true
    })
  }

  /**
   * Drops a blob; readers that have it open keep their file. What can't be deleted is left for the next start to find.
   * @param seen the record of the file that is to go, where another one may have come in its place
   */
  async remove(digest: Digest, seen?: BlobRecord): Promise<void> {
    const { index, metadata, onStuck } = this.#options
    await this.#turns.take(digest, async () => {
      const record = index.get(digest)
      if (record === undefined || (seen !== undefined && record.createdAt !== seen.createdAt)) return
      const error = await this.#unlink(digest, record)
      if (error !== undefined) onStuck(error)
      await metadata.deleteBlob(digest).catch(() => {})
    })
  }

  /**
   * Drops a blob for its room.
   * @returns false where it may not be evicted any more
   * @throws where its file can't be deleted: the blob is held as before
   */
  async evict(digest: Digest): Promise<boolean> {
    const { index, metadata, events } = this.#options
    const seen = index.get(digest)
    return await this.#turns.take(digest, async () => {
      const record = index.get(digest)
      if (record === undefined || record.createdAt !== seen?.createdAt || !index.isEvictable(digest)) return false
      const error = await this.#unlink(digest, record)
      if (error !== undefined) {
        // It takes its room in any case.
        index.add(digest, record)
        events.stored(digest, record)
        throw error
      }
      await metadata.deleteBlob(digest).catch(() => {})
      return true
    })
  }

  /** The file goes before its record: a record without a file is noticed when it is opened, a file without a record is adopted. */
  async #unlink(digest: Digest, record: BlobRecord): Promise<Error | undefined> {
    const { files, index, events } = this.#options
    await events.removing(digest, record)
    index.remove(digest)
    return await files.unlink(digest)
  }

  async #mark(digest: Digest, before: BlobRecord, isKept: boolean): Promise<BlobRecord> {
    const record = { ...before, kept: isKept }
    // At once: it must not be evicted while that is written.
    this.#options.index.update(digest, record)
    await this.#options.files.mark(digest, isKept)
    return record
  }

  async #record(digest: Digest, size: number, facts: Placement['facts'], onPlaced: () => void): Promise<void> {
    const { index, metadata, events } = this.#options
    const now = this.#options.now()
    const before = index.get(digest)
    const record: BlobRecord = {
      size,
      mediaType: facts.mediaType ?? before?.mediaType,
      ...placesAfter(before, facts),
      kept: facts.kept ?? before?.kept,
      createdAt: now,
      lastAccess: now,
    }
    await metadata.putBlob(digest, record)
    // Otherwise it would count twice for a moment, and others be evicted for it.
    onPlaced()
    index.add(digest, record)
    events.stored(digest, record)
  }
}
