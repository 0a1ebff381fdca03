import type { FileHandle } from 'node:fs/promises'
import type { Room } from '../../config/scalars.ts'
import type { Digest } from '../../proxy/oci/digest.ts'
import { DigestMismatch } from '../verify/mismatch.ts'
import { AccessTimes } from './access-times.ts'
import { BlobFiles, isTooManyFiles } from './blob-files.ts'
import { BlobIndex } from './blob-index.ts'
import { BlobChanges, type BlobStoreEvents } from './changes.ts'
import { Disk, type DiskSpace, measureDisk } from './disk.ts'
import { StoreError } from './errors.ts'
import { StoreFolders } from './folders.ts'
import type { BlobFacts, BlobRecord, Metadata } from './metadata.ts'
import { Partials, type Placement } from './partials.ts'
import { Quota } from './quota.ts'
import { readBytes, type StoredBlob } from './read.ts'
import { readStore, writeDifferences } from './reconcile.ts'
import { RecordsDisk } from './records-disk.ts'
import { type OnFoldersLost, Restoration } from './restoration.ts'
import { type Staging, stageBlob } from './staging.ts'
import { type Upload, Uploads } from './uploads.ts'
import { type StoreUsage, usageOf } from './usage.ts'

export type { BlobStoreEvents } from './changes.ts'
export type { StoredBlob } from './read.ts'

interface BlobStoreOptions {
  readonly dataDir: string
  readonly metadata: Metadata
  /** Quota in bytes. */
  readonly maxBytes: number
  /** What stays free on the disk; by default what the databases need. */
  readonly minFree?: Room
  /** Measures the disk of a folder. */
  readonly measureDisk?: (folder: string) => Promise<DiskSpace>
  readonly onFoldersLost?: OnFoldersLost
  /** Told why a file can't be deleted. */
  readonly onStuck?: (error: Error) => void
  readonly events: BlobStoreEvents
  readonly now?: () => number
}

/**
 * Blobs as files `blobs/<algorithm>/<hex>`, as in an OCI image layout. A blob gets that name only when it is whole,
 * right and durable, so a crash at any moment leaves nothing that must be mended.
 */
export class BlobStore {
  readonly #folders: StoreFolders
  readonly #files: BlobFiles
  readonly #metadata: Metadata
  readonly #index: BlobIndex
  readonly #now: () => number
  /** Blobs of which any quarters are held. */
  readonly partials: Partials
  /** Blobs that are being pushed. */
  readonly uploads: Uploads
  readonly #accessTimes: AccessTimes
  readonly #changes: BlobChanges
  readonly #restoration: Restoration
  readonly #disk: Disk
  readonly #recordsDisk: RecordsDisk
  readonly #quota: Quota

  private constructor(options: BlobStoreOptions) {
    this.#folders = new StoreFolders(options.dataDir)
    this.#files = new BlobFiles(this.#folders)
    this.#metadata = options.metadata
    this.#index = new BlobIndex(options.maxBytes)
    this.#now = options.now ?? Date.now
    const { metadata, events, onStuck = () => {} } = options
    this.#changes = new BlobChanges({
      files: this.#files,
      metadata,
      index: this.#index,
      events,
      onStuck,
      now: this.#now,
    })
    this.#restoration = new Restoration({
      folders: this.#folders,
      files: this.#files,
      metadata: options.metadata,
      index: this.#index,
      partials: () => this.partials,
      remove: (digest, seen) => this.remove(digest, seen),
      onFoldersLost: options.onFoldersLost ?? (() => {}),
    })
    const measure = options.measureDisk ?? measureDisk
    this.#disk = new Disk({
      minFree: options.minFree ?? { bytes: 0 },
      measure: async () => {
        await this.#restoration.look()
        return await measure(this.#folders.blobs)
      },
    })
    this.#recordsDisk = new RecordsDisk({ dataDir: options.dataDir, blobs: this.#folders.blobs, measure })
    this.#quota = new Quota({
      index: this.#index,
      disk: this.#disk,
      remove: (digest) => this.#changes.evict(digest),
      dropPartial: async () => (await this.partials.dropOldest()) ?? (await this.uploads.dropIdle()),
      partialBytes: () => this.partials.idleBytes + this.uploads.idleBytes,
      uploadBytes: () => this.uploads.bytes,
      onStuck,
    })
    this.partials = new Partials({
      folder: this.#folders.partial,
      quota: this.#quota,
      place: (placement) => this.#changes.place(placement),
      now: this.#now,
    })
    this.uploads = new Uploads({ folder: this.#folders.uploads, quota: this.#quota, now: this.#now })
    this.#accessTimes = new AccessTimes(this.#index, options.metadata)
  }

  /**
   * Opens the store, removes what an earlier process left unfinished, and evicts what quota and disk no longer allow: before it
   * writes anything, as the disk may be full.
   */
  static async open(options: BlobStoreOptions): Promise<BlobStore> {
    const store = new BlobStore(options)
    try {
      await store.#folders.prepare()
      const differences = await readStore(store.#files, options.metadata, store.#index)
      await store.partials.prepare()
      await store.uploads.prepare()
      await store.#quota.trim()
      await writeDifferences(options.metadata, store.#index, differences)
      return store
    } catch (error) {
      store.#accessTimes.stop()
      throw error
    }
  }

  get usage(): StoreUsage {
    const parts = { index: this.#index, disk: this.#disk, records: this.#recordsDisk, quota: this.#quota }
    return usageOf({ ...parts, uploads: this.uploads, problem: this.#restoration.problem })
  }

  /** Measures the disks, and evicts what others have written on that of the blobs leaves no room for. */
  async makeRoom(): Promise<void> {
    await this.#recordsDisk.look()
    await this.#quota.trim()
  }

  /** Whether a blob fits without the room of one that was used lately. */
  async fits(bytes: number): Promise<boolean> {
    return await this.#quota.fits(bytes, this.#now())
  }

  has(digest: Digest): boolean {
    return this.#index.get(digest) !== undefined
  }

  record(digest: Digest): BlobRecord | undefined {
    return this.#index.get(digest)
  }

  /** Whether any blob that was found in a `registry/repository` is held. */
  holdsOf(repository: string): boolean {
    return this.#index.holdsOf(repository)
  }

  /** The checkpoints that a blob was proven along; undefined where they were not kept. */
  async checkpoints(digest: Digest): Promise<Uint8Array | undefined> {
    return this.has(digest) ? await this.#metadata.checkpoints(digest) : undefined
  }

  /** Keeps what was computed of a blob that is held. */
  async putCheckpoints(digest: Digest, states: Uint8Array): Promise<void> {
    if (this.has(digest)) await this.#metadata.putCheckpoints(digest, states)
  }

  /** Held digests, most recently used first. */
  digests(): Digest[] {
    return this.#index.newestFirst()
  }

  /** Opens a blob for a user; undefined where it is not held. It is not evicted until it is closed. */
  async openBlob(digest: Digest): Promise<StoredBlob | undefined> {
    const unpin = this.#index.pin(digest)
    if (unpin === undefined) return undefined
    this.#accessTimes.note(digest, this.#now())
    try {
      const blob = await this.openUntouched(digest)
      if (blob === undefined) unpin()
      return blob && { ...blob, close: () => blob.close().finally(unpin) }
    } catch (error) {
      unpin()
      throw error
    }
  }

  /**
   * As `openBlob`, without counting as a use. A blob whose file is gone or has another length is dropped, and one that can't be read
   * where it can be fetched again.
   * @throws {StoreError} io, where one that was pushed can't be read
   */
  async openUntouched(digest: Digest): Promise<StoredBlob | undefined> {
    for (;;) {
      const record = this.#index.get(digest)
      if (record === undefined) return undefined
      const file = await this.#open(digest, record)
      if (file !== undefined) {
        const read = (start: number, end: number, signal: AbortSignal) => readBytes(file, start, end, signal)
        return { record, read, close: () => file.close() }
      }
      // Another file may have come in its place meanwhile: then that one is opened.
      await this.remove(digest, record)
    }
  }

  /**
   * Starts a blob of `size` bytes (undefined where it is not known yet).
   * @throws {StoreError} quota, no-space, io
   */
  async stage(digest: Digest, size: number | undefined, onProgress: () => void): Promise<Staging> {
    const place = (placement: Placement) => this.#changes.place(placement)
    return await stageBlob({ digest, size, onProgress, files: this.#files, quota: this.#quota, place })
  }

  /** Adds to what is known of a blob that is held: that it is public, or in one more repository. */
  async addFacts(digest: Digest, facts: BlobFacts): Promise<void> {
    await this.#changes.addFacts(digest, facts)
  }

  /**
   * Makes what was uploaded a blob that is held and kept. The upload keeps its file until it is removed, so nothing is lost where the
   * blob can't be named after that; see {@link Upload.reclaim}.
   * @throws {StoreError} no-space, io
   */
  async putUpload(upload: Upload, digest: Digest, checkpoints: Uint8Array | undefined): Promise<void> {
    const facts = { mediaType: undefined, public: false, repository: undefined, kept: true }
    const path = await this.#files.link(upload.path)
    try {
      const { length: size } = upload
      await this.#changes.place({ digest, path, size, facts, checkpoints, onPlaced: () => upload.release() })
    } finally {
      // It is still there also where the blob's file is the same one from an earlier try: a rename does nothing then.
      if (path !== upload.path) await this.#files.unlinkStaged(path)
    }
  }

  /** As {@link BlobChanges.setKept}. */
  async setKept(digest: Digest, isKept: boolean): Promise<boolean> {
    return await this.#changes.setKept(digest, isKept)
  }

  /**
   * Drops a blob; readers that have it open keep their file.
   * @param seen the record of the file that is to go, where another one may have come in its place
   */
  async remove(digest: Digest, seen?: BlobRecord): Promise<void> {
    await this.#changes.remove(digest, seen)
  }

  /**
   * Drops a blob that could not be read, unless it was pushed: that is nowhere else, and its disk may answer again. It goes where it is
   * proven to be wrong.
   * @param seen the record that it had when it was opened
   * @param error why it could not be read
   * @returns whether it may not be read again
   */
  async drop(digest: Digest, seen: BlobRecord, error: unknown): Promise<boolean> {
    const isWrong = error instanceof DigestMismatch || (error instanceof StoreError && error.code === 'truncated')
    if (!isWrong && this.#index.get(digest)?.kept === true) return false
    await this.remove(digest, seen)
    return true
  }

  async close(): Promise<void> {
    this.#accessTimes.stop()
    await this.#quota.settled()
    await this.#accessTimes.flush()
  }

  async #open(digest: Digest, record: BlobRecord): Promise<FileHandle | undefined> {
    try {
      return await this.#files.open(digest, record.size)
    } catch (error) {
      if (isTooManyFiles(error)) throw error
      // What others have, too, is fetched again.
      if (record.kept !== true) return undefined
      throw new StoreError('io', `${digest} was pushed here and can't be read: ${(error as Error).message}`, {
        cause: error,
      })
    }
  }
}
