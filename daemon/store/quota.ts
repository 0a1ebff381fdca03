import { formatSize } from '../../config/units.ts'
import type { Digest } from '../../proxy/oci/digest.ts'
import type { BlobIndex } from './blob-index.ts'
import type { Disk } from './disk.ts'
import { StoreError } from './errors.ts'

interface QuotaOptions {
  readonly index: BlobIndex
  readonly disk: Disk
  /** Removes a blob. */
  readonly remove: (digest: Digest) => Promise<void>
  /** Removes the part of a blob that nobody has fetched on for the longest time. @returns its bytes; undefined where there was none */
  readonly dropPartial: () => Promise<number | undefined>
  /** Bytes that `dropPartial` can free. */
  readonly partialBytes: () => number
}

/** Room for a blob that is being written. */
export interface Reservation {
  bytes: number
  /** How many of them are on the disk already, where they don't count as free any more. */
  written: () => number
}

/**
 * Makes room for what is written, in the quota and on the disk: parts of blobs that nobody fetches go first, then the least recently
 * used blobs. What is being read or fetched is never removed, nor what was pushed.
 */
export class Quota {
  readonly #options: QuotaOptions
  /** Evictions happen one after another, or two would free the same bytes. */
  #evicting: Promise<unknown> = Promise.resolve()
  readonly #reservations = new Set<Reservation>()
  #evicted = { blobs: 0, bytes: 0 }

  constructor(options: QuotaOptions) {
    this.#options = options
  }

  /** What was evicted for its room since the start. */
  get evicted(): { readonly blobs: number; readonly bytes: number } {
    return this.#evicted
  }

  /**
   * Evicts until so many more bytes fit, and reserves them.
   * @param onDisk how many of them are on the disk already
   * @throws {StoreError} quota, no-space
   */
  async reserve(bytes: number, onDisk = 0): Promise<Reservation> {
    const reservation = { bytes, written: () => onDisk }
    await this.#inTurn(() => this.#makeRoom(bytes, bytes - onDisk))
    this.#reservations.add(reservation)
    return reservation
  }

  /** Reserves more. @throws {StoreError} quota, no-space */
  async grow(reservation: Reservation, bytes: number): Promise<void> {
    await this.#inTurn(() => this.#makeRoom(bytes, bytes))
    reservation.bytes += bytes
    // It has ended meanwhile, and is given back by nobody else.
    if (!this.#reservations.has(reservation)) this.#giveBack(bytes, bytes)
  }

  /** Gives back what was not written. */
  shrink(reservation: Reservation): void {
    const spare = unwrittenOf(reservation)
    reservation.bytes -= spare
    if (this.#reservations.has(reservation)) this.#giveBack(spare, spare)
  }

  /** Gives back what was reserved, once. @param keptBytes that go on counting until they are released */
  end(reservation: Reservation, keptBytes = 0): void {
    if (!this.#reservations.delete(reservation)) return
    this.#giveBack(reservation.bytes - keptBytes, unwrittenOf(reservation))
  }

  /** Gives back what was counted. */
  release(bytes: number): void {
    this.#options.index.release(bytes)
  }

  /** Counts what is there already, whether it fits or not. */
  count(bytes: number): void {
    this.#options.index.reserve(bytes)
  }

  /** As `count`, for what goes on being written. */
  adopt(bytes: number): Reservation {
    const reservation = { bytes, written: () => bytes }
    this.count(bytes)
    this.#reservations.add(reservation)
    return reservation
  }

  /** Measures the disk, and evicts until quota and reserve are kept again, or nothing is left to evict. */
  async trim(): Promise<void> {
    await this.#inTurn(async () => {
      await this.#options.disk.measure(() => this.#unwritten())
      while (this.#missing(0, 0) > 0 && (await this.#evictOne()));
    })
  }

  /** Waits for evictions that are under way. */
  async settled(): Promise<void> {
    await this.#evicting
  }

  #inTurn(work: () => Promise<void>): Promise<void> {
    const done = this.#evicting.then(work)
    this.#evicting = done.catch(() => {})
    return done
  }

  /** @param bytes of the quota @param diskBytes of the disk */
  async #makeRoom(bytes: number, diskBytes: number): Promise<void> {
    const { index, disk, partialBytes } = this.#options
    await disk.refresh(() => this.#unwritten())
    if (bytes > index.capacity) {
      throw new StoreError('quota', `${bytes} bytes are more than the quota of ${index.capacity} bytes`)
    }
    // Nothing is evicted for what does not fit in any case.
    const missing = this.#missing(bytes, diskBytes)
    if (missing > 0 && index.evictableBytes() + partialBytes() < missing) throw this.#whyNoRoom(bytes)
    while (this.#missing(bytes, diskBytes) > 0) {
      if (!(await this.#evictOne())) throw this.#whyNoRoom(bytes)
    }
    index.reserve(bytes)
    disk.take(diskBytes)
  }

  /** Bytes that have to be freed. */
  #missing(bytes: number, diskBytes: number): number {
    const { index, disk } = this.#options
    return Math.max(bytes - index.freeBytes, diskBytes - disk.availableBytes)
  }

  async #evictOne(): Promise<boolean> {
    const { index, disk, remove, dropPartial } = this.#options
    const partial = await dropPartial()
    if (partial !== undefined) {
      disk.give(partial)
      return true
    }
    const digest = index.oldestEvictable()
    const size = digest === undefined ? undefined : index.get(digest)?.size
    if (digest === undefined || size === undefined) return false
    await remove(digest)
    // The disk may count it as free a little later.
    disk.give(size)
    this.#evicted = { blobs: this.#evicted.blobs + 1, bytes: this.#evicted.bytes + size }
    return true
  }

  #giveBack(bytes: number, diskBytes: number): void {
    this.#options.index.release(bytes)
    this.#options.disk.give(diskBytes)
  }

  #unwritten(): number {
    return [...this.#reservations].reduce((sum, one) => sum + unwrittenOf(one), 0)
  }

  #whyNoRoom(bytes: number): StoreError {
    const { index, disk, partialBytes } = this.#options
    if (bytes <= index.freeBytes + index.evictableBytes() + partialBytes()) {
      const free = formatSize(disk.freeBytes ?? 0)
      const reserve = formatSize(disk.reserveBytes)
      return new StoreError('no-space', `${free} are free on the disk, ${reserve} are to stay free (store.minFree)`)
    }
    const kept = index.keptBytes
    if (kept > 0) {
      const text = `of the quota of ${formatSize(index.capacity)}, ${formatSize(kept)} are images that were pushed here`
      return new StoreError('quota', `${text}: delete some of them, or raise store.maxSize`)
    }
    return new StoreError('quota', 'too many of the blobs in the quota are in use')
  }
}

function unwrittenOf({ bytes, written }: Reservation): number {
  return Math.max(0, bytes - written())
}
