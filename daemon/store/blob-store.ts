import type { Room } from '../../config/scalars.ts'
import type { Digest } from '../../proxy/oci/digest.ts'
import { AccessTimes } from './access-times.ts'
import { BlobFiles } from './blob-files.ts'
import { BlobIndex } from './blob-index.ts'
import { Disk, type DiskSpace, measureDisk } from './disk.ts'
import { StoreFolders } from './folders.ts'
import type { BlobFacts, BlobRecord, Metadata } from './metadata.ts'
import { Partials, type Placement } from './partials.ts'
import { Quota } from './quota.ts'
import { readBytes, type StoredBlob } from './read.ts'
import { readStore, writeDifferences } from './reconcile.ts'
import { placesAfter } from './record.ts'
import { RecordsDisk } from './records-disk.ts'
import { Removals } from './removals.ts'
import { type OnFoldersLost, Restoration } from './restoration.ts'
import { type Staging, stageBlob } from './staging.ts'
import { type Upload, Uploads } from './uploads.ts'
import { type StoreUsage, usageOf } from './usage.ts'

export type { StoredBlob } from './read.ts'

export interface BlobStoreEvents {
  /** A blob was completed; or more is known of one, of which `before` was known. */
  stored(digest: Digest, record: BlobRecord, before?: BlobRecord): void
  /** A blob is about to be deleted; deletion waits for the promise. */
  removing(digest: Digest, record: BlobRecord): Promise<void>
}

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
  readonly #events: BlobStoreEvents
  readonly #now: () => number
  /** Blobs of which any quarters are held. */
  readonly partials: Partials
  /** Blobs that are being pushed. */
  readonly uploads: Uploads
  readonly #accessTimes: AccessTimes
  readonly #removals: Removals
  readonly #restoration: Restoration
  readonly #disk: Disk
  readonly #recordsDisk: RecordsDisk
  readonly #quota: Quota

  private constructor(options: BlobStoreOptions) {
    this.#folders = new StoreFolders(options.dataDir)
    this.#files = new BlobFiles(this.#folders)
    this.#metadata = options.metadata
    this.#index = new BlobIndex(options.maxBytes)
    this.#events = options.events
    this.#now = options.now ?? Date.now
    const { metadata, events, onStuck = () => {} } = options
    this.#removals = new Removals({ files: this.#files, metadata, index: this.#index, events, onStuck })
    this.#restoration = new Restoration({
      folders: this.#folders,
      files: this.#files,
      metadata: options.metadata,
      index: this.#index,
      partials: () => this.partials,
      remove: (digest) => this.remove(digest),
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
      remove: (digest) => this.#removals.evict(digest),
      dropPartial: () => this.partials.dropOldest(),
      partialBytes: () => this.partials.idleBytes,
      onStuck,
    })
    this.partials = new Partials({
      folder: this.#folders.partial,
      quota: this.#quota,
      place: (placement) => this.#putInPlace(placement),
      now: this.#now,
    })
    this.uploads = new Uploads({ folder: this.#folders.uploads, quota: this.#quota })
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
    return usageOf(this.#index, this.#disk, this.#recordsDisk, this.#quota, this.#restoration.problem)
  }

  /** Measures the disks, and evicts what others have written on that of the blobs leaves no room for. */
  async makeRoom(): Promise<void> {
    await this.#recordsDisk.look()
    await this.#quota.trim()
  }

  /** Whether a blob fits without the room of one that was used since a time, in ms since the epoch. */
  async fits(bytes: number, since: number): Promise<boolean> {
    return await this.#quota.fits(bytes, since)
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

  /** As `openBlob`, without counting as a use. A blob whose file is gone or has another length is dropped. */
  async openUntouched(digest: Digest): Promise<StoredBlob | undefined> {
    const record = this.#index.get(digest)
    if (record === undefined) return undefined
    const file = await this.#files.open(digest, record.size)
    if (file === undefined) {
      await this.remove(digest)
      return undefined
    }
    return {
      record,
      read: (start, end, signal) => readBytes(file, start, end, signal),
      close: () => file.close(),
    }
  }

  /**
   * Starts a blob of `size` bytes (undefined where it is not known yet).
   * @throws {StoreError} quota, no-space, io
   */
  async stage(digest: Digest, size: number | undefined, onProgress: () => void): Promise<Staging> {
    const place = (placement: Placement) => this.#putInPlace(placement)
    return await stageBlob({ digest, size, onProgress, files: this.#files, quota: this.#quota, place })
  }

  /** Adds to what is known of a blob that is held: that it is public, or in one more repository. */
  async addFacts(digest: Digest, facts: BlobFacts): Promise<void> {
    const before = this.#index.get(digest)
    if (before === undefined) return
    const after = placesAfter(before, facts)
    const isSame = after.public === before.public && after.repositories === before.repositories
    if (isSame && after.publicIn === before.publicIn) return
    const record = { ...before, ...after }
    this.#index.update(digest, record)
    await this.#metadata.putFacts(digest, record)
    this.#events.stored(digest, record, before)
  }

  /**
   * Makes a pushed blob one that is held and kept. The upload is over then; its file is not to be written any more.
   * @throws {StoreError} no-space, io
   */
  async putUpload(upload: Upload, digest: Digest, checkpoints: Uint8Array | undefined): Promise<void> {
    const facts = { mediaType: undefined, public: false, repository: undefined, kept: true }
    const { path, length: size } = upload
    await this.#putInPlace({ digest, path, size, facts, checkpoints, onPlaced: () => upload.placed() })
  }

  /**
   * Keeps a blob that is held, or lets it be evicted again. Durable when it returns.
   * @returns false where it is not held
   */
  async setKept(digest: Digest, isKept: boolean): Promise<boolean> {
    await this.#removals.settled(digest)
    const before = this.#index.get(digest)
    if (before === undefined || (before.kept ?? false) === isKept) return before !== undefined
    const record = { ...before, kept: isKept }
    // At once: it must not be evicted while that is written.
    this.#index.update(digest, record)
    await this.#files.mark(digest, isKept)
    await this.#metadata.putBlob(digest, record)
    return true
  }

  /** Drops a blob; readers that have it open keep their file. */
  async remove(digest: Digest): Promise<void> {
    await this.#removals.remove(digest)
  }

  async close(): Promise<void> {
    this.#accessTimes.stop()
    await this.#quota.settled()
    await this.#accessTimes.flush()
  }

  async #putInPlace({ digest, path, size, facts, checkpoints, onPlaced }: Placement): Promise<void> {
    await this.#removals.settled(digest)
    if (checkpoints !== undefined) await this.#metadata.putCheckpoints(digest, checkpoints)
    try {
      await this.#files.mark(path, facts.kept ?? this.#index.get(digest)?.kept ?? false)
      await this.#files.place(path, digest)
      await this.#record(digest, size, facts, onPlaced)
    } catch (error) {
      // Also where it has its name already, but the folder can't be made durable.
      if (!this.has(digest)) await this.#files.unlink(digest)
      throw error
    }
  }

  async #record(digest: Digest, size: number, facts: Placement['facts'], onPlaced: () => void): Promise<void> {
    const now = this.#now()
    const before = this.#index.get(digest)
    const record: BlobRecord = {
      size,
      mediaType: facts.mediaType ?? before?.mediaType,
      ...placesAfter(before, facts),
      kept: facts.kept ?? before?.kept,
      createdAt: now,
      lastAccess: now,
    }
    await this.#metadata.putBlob(digest, record)
    // Otherwise it would count twice for a moment, and others be evicted for it.
    onPlaced()
    this.#index.add(digest, record)
    this.#events.stored(digest, record)
  }
}
