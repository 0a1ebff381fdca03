import type { Digest } from '../../proxy/oci/digest.ts'
import type { BlobIndex } from './blob-index.ts'
import { StoreError } from './errors.ts'

interface QuotaOptions {
  readonly index: BlobIndex
  /** Removes a blob. */
  readonly remove: (digest: Digest) => Promise<void>
  /** Removes the part of a blob that nobody has fetched on for the longest time. @returns whether there was one */
  readonly dropPartial: () => Promise<boolean>
}

/** Makes room for what is written: parts of blobs that nobody fetches go first, then the least recently used blobs. */
export class Quota {
  readonly #options: QuotaOptions
  /** Evictions happen one after another, or two would free the same bytes. */
  #evicting: Promise<unknown> = Promise.resolve()

  constructor(options: QuotaOptions) {
    this.#options = options
  }

  /** Evicts until so many more bytes fit, and reserves them. @throws {StoreError} no-space */
  reserve(bytes: number): Promise<void> {
    const done = this.#evicting.then(() => this.#makeRoom(bytes))
    this.#evicting = done.catch(() => {})
    return done
  }

  /** Gives back what was reserved. */
  release(bytes: number): void {
    this.#options.index.release(bytes)
  }

  /** Counts what is there already, whether it fits or not. */
  count(bytes: number): void {
    this.#options.index.reserve(bytes)
  }

  /** Waits for evictions that are under way. */
  async settled(): Promise<void> {
    await this.#evicting
  }

  async #makeRoom(bytes: number): Promise<void> {
    const { index, remove, dropPartial } = this.#options
    if (bytes > index.capacity) {
      throw new StoreError('no-space', `${bytes} bytes are more than the quota of ${index.capacity} bytes`)
    }
    while (index.freeBytes < bytes) {
      if (await dropPartial()) continue
      const digest = index.oldestUnpinned()
      if (digest === undefined || index.freeBytes + index.evictableBytes() < bytes) {
        throw new StoreError('no-space', 'too many of the blobs in the quota are in use')
      }
      await remove(digest)
    }
    index.reserve(bytes)
  }
}
