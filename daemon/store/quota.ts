import { formatSize } from '../../config/units.ts'
import type { Digest } from '../../proxy/oci/digest.ts'
import type { BlobIndex } from './blob-index.ts'
import type { Disk } from './disk.ts'
import { StoreError } from './errors.ts'

interface QuotaOptions {
  readonly index: BlobIndex
  readonly disk: Disk
  /**
   * Removes a blob.
   * @returns false where it may not be evicted any more
   * @throws where its file can't be deleted
   */
  readonly remove: (digest: Digest) => Promise<boolean>
  /**
   * Removes the part of a blob that nobody has gone on with for the longest time.
   * @returns its bytes; undefined where there was none
   * @throws where its file can't be deleted
   */
  readonly dropPartial: () => Promise<number | undefined>
  /** Bytes that `dropPartial` can free. */
  readonly partialBytes: () => number
  /** Bytes of blobs that are being pushed. */
  readonly uploadBytes?: () => number
  /** Told why something can't be evicted. */
  readonly onStuck: (error: Error) => void
}

/** Room for a blob that is being written. It grows as the blob does. */
export interface Reservation {
  bytes: number
  /** What the blob takes in the end. */
  size: number
  /** How many of them are on the disk already, where they don't count as free any more. */
  written: () => number
  /** Whether somebody has told its size whose word counts. */
  isSizeSure: () => boolean
}

/** The share of the quota up to which one blob that is being written takes the room of blobs that are proven. */
const MAX_EVICTING_SHARE = 0.75

/** The same in bytes, where only strangers have told the size: the longest manifest. */
const MAX_EVICTING_UNSURE = 16 * 2 ** 20

/**
 * What nobody has used for this time, in ms, makes room for what nobody has asked for: 30 days. A full store stays full. With less, what is
 * used once a month is lost to it; with more, a full store holds new images in part only.
 */
const UNUSED_MS = 30 * 24 * 3_600_000

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
   * Looks whether a blob whose size has just become sure fits to its end. Nothing is evicted: that is done as its bytes come, by
   * {@link grow}.
   * @throws {StoreError} quota, no-space
   */
  async check(reservation: Reservation): Promise<void> {
    await this.#inTurn(async () => {
      const rest = Math.max(0, reservation.size - reservation.bytes)
      await this.#admit(rest, rest, this.#mayEvict(reservation.size, true), reservation)
    })
  }

  /**
   * Begins with a blob. What is free of its room is reserved, if its size is sure; blobs are evicted for the rest as it comes, see
   * {@link grow}: how long it is may be a lie.
   * @param onDisk how many of its bytes are on the disk already
   * @throws {StoreError} quota, no-space, where it would not fit
   */
  async reserve(size: number, onDisk = 0, isSizeSure = () => true): Promise<Reservation> {
    const reservation = { bytes: onDisk, size, written: () => onDisk, isSizeSure }
    await this.#inTurn(async () => {
      const bytes = isSizeSure() ? size : onDisk
      await this.#admit(bytes, bytes - onDisk, this.#mayEvict(bytes, isSizeSure()))
      await this.#free(bytes, bytes - onDisk, false)
      reservation.bytes = Math.max(onDisk, bytes - Math.max(0, this.#missing(bytes, bytes - onDisk)))
      this.#options.index.reserve(reservation.bytes)
      this.#options.disk.take(reservation.bytes - onDisk)
    })
    this.#reservations.add(reservation)
    return reservation
  }

  /** Reserves more. One blob never takes the room of all others. @throws {StoreError} quota, no-space */
  async grow(reservation: Reservation, bytes: number): Promise<void> {
    const mayEvict = this.#mayEvict(reservation.bytes + bytes, reservation.isSizeSure())
    await this.#inTurn(() => this.#makeRoom(bytes, bytes, mayEvict))
    reservation.bytes += bytes
    // It has ended meanwhile, and is given back by nobody else.
    if (!this.#reservations.has(reservation)) this.#giveBack(bytes, bytes)
  }

  /** Whether a blob that nobody has asked for fits beside what is fetched and what was used lately. @param now in ms since the epoch */
  async fits(bytes: number, now: number): Promise<boolean> {
    const { disk, index, partialBytes } = this.#options
    await disk.refresh(() => this.#unwritten())
    const all = bytes + this.#promised()
    // What is evicted for it is the least recently used, so these go before any other.
    return this.#missing(all, all) <= partialBytes() + index.evictableBytes(now - UNUSED_MS)
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
    const reservation = { bytes, size: bytes, written: () => bytes, isSizeSure: () => true }
    this.count(bytes)
    this.#reservations.add(reservation)
    return reservation
  }

  /** Measures the disk, and evicts until quota and reserve are kept again, or nothing is left to evict. */
  async trim(): Promise<void> {
    await this.#inTurn(async () => {
      await this.#options.disk.measure(() => this.#unwritten())
      await this.#free(0, 0)
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

  /** Whether a blob that takes so many bytes in all may take the room of others that are proven. */
  #mayEvict(bytes: number, isSizeSure: boolean): boolean {
    const most = MAX_EVICTING_SHARE * this.#options.index.capacity
    return bytes <= (isSizeSure ? most : Math.min(most, MAX_EVICTING_UNSURE))
  }

  /** As {@link #check}, of all that a blob still takes: those that were let in before, but for `itself`, get theirs first. */
  async #admit(bytes: number, diskBytes: number, mayEvict: boolean, itself?: Reservation): Promise<void> {
    await this.#check(bytes, diskBytes, mayEvict)
    const promised = this.#promised(itself)
    if (bytes === 0 || promised === 0) return
    const evictable = this.#options.index.evictableBytes() + this.#options.partialBytes()
    if (this.#missing(bytes + promised, diskBytes + promised) > evictable) throw this.#whyNoRoom(bytes + promised, true)
  }

  /** Bytes that blobs which are being written still lack, but for one of them. */
  #promised(but?: Reservation): number {
    const others = [...this.#reservations].filter((one) => one !== but && one.isSizeSure())
    return others.reduce((sum, { size, bytes: reserved }) => sum + Math.max(0, size - reserved), 0)
  }

  /** @param bytes of the quota @param diskBytes of the disk @throws {StoreError} where no eviction would be enough */
  async #check(bytes: number, diskBytes: number, mayEvict: boolean): Promise<void> {
    const { index, disk, partialBytes } = this.#options
    await disk.refresh(() => this.#unwritten())
    if (bytes > index.capacity) {
      throw new StoreError('quota', `${bytes} bytes are more than the quota of ${index.capacity} bytes`)
    }
    const missing = this.#missing(bytes, diskBytes)
    const evictable = mayEvict ? index.evictableBytes() : 0
    if (missing > 0 && evictable + partialBytes() < missing) throw this.#whyNoRoom(bytes, mayEvict)
  }

  async #makeRoom(bytes: number, diskBytes: number, mayEvict: boolean): Promise<void> {
    const { index, disk } = this.#options
    // Nothing is evicted for what does not fit in any case.
    await this.#check(bytes, diskBytes, mayEvict)
    if (!(await this.#free(bytes, diskBytes, mayEvict))) throw this.#whyNoRoom(bytes, mayEvict)
    index.reserve(bytes)
    disk.take(diskBytes)
  }

  /** Evicts until so many bytes are free. @returns whether they are: nothing may be left to evict, or what is evicted not be freed */
  async #free(bytes: number, diskBytes: number, mayEvict = true): Promise<boolean> {
    const { index, disk } = this.#options
    while (this.#missing(bytes, diskBytes) > 0) {
      // Measured just before and just after, a deletion shows what it frees, whatever others write in its place.
      await disk.measure(() => this.#unwritten())
      if (this.#missing(bytes, diskBytes) <= 0) return true
      // What is deleted in place of something that is not freed would not be freed either.
      if (bytes <= index.freeBytes && diskBytes <= disk.availableBytes + disk.unfreedBytes) return false
      if (!(await this.#evictOne(mayEvict))) return false
      await disk.measure(() => this.#unwritten())
    }
    return true
  }

  /** Bytes that have to be freed. */
  #missing(bytes: number, diskBytes: number): number {
    const { index, disk } = this.#options
    return Math.max(bytes - index.freeBytes, diskBytes - disk.availableBytes)
  }

  /** @returns whether to look again: something was evicted, or what was to go has come into use */
  async #evictOne(mayEvict: boolean): Promise<boolean> {
    const { index, disk, remove, dropPartial, onStuck } = this.#options
    try {
      const partial = await dropPartial()
      if (partial !== undefined) {
        disk.delete(partial)
        return true
      }
      const digest = mayEvict ? index.oldestEvictable() : undefined
      const size = digest === undefined ? undefined : index.get(digest)?.size
      if (digest === undefined || size === undefined) return false
      if (!(await remove(digest))) return true
      disk.delete(size)
      this.#evicted = { blobs: this.#evicted.blobs + 1, bytes: this.#evicted.bytes + size }
      return true
    } catch (error) {
      // Most probably the others can't be deleted either. The next look tries another one.
      onStuck(error as Error)
      return false
    }
  }

  #giveBack(bytes: number, diskBytes: number): void {
    this.#options.index.release(bytes)
    this.#options.disk.give(diskBytes)
  }

  #unwritten(): number {
    return [...this.#reservations].reduce((sum, one) => sum + unwrittenOf(one), 0)
  }

  #whyNoRoom(bytes: number, mayEvict: boolean): StoreError {
    const { index, disk, partialBytes } = this.#options
    if (!mayEvict)
      return new StoreError('quota', 'it would take the room of most other blobs, and may not be what it seems')
    if (bytes <= index.freeBytes + index.evictableBytes() + partialBytes()) {
      const free = formatSize(disk.freeBytes ?? 0)
      const reserve = formatSize(disk.reserveBytes)
      const text = `${free} are free on the disk, ${reserve} are to stay free (store.minFree)`
      const unfreed = disk.unfreedBytes
      if (unfreed === 0) return new StoreError('no-space', text)
      const held = `${formatSize(unfreed)} were evicted and are not free yet: a snapshot or an open file holds them`
      return new StoreError('no-space', `${text}; ${held}`)
    }
    const kept = index.keptBytes
    const uploads = this.#options.uploadBytes?.() ?? 0
    if (kept + uploads > 0) {
      const parts = [`${formatSize(kept)} are images that were pushed here`]
      if (uploads > 0) parts.unshift(`${formatSize(uploads)} are pushes under way`)
      const text = `of the quota of ${formatSize(index.capacity)}, ${parts.join(' and ')}`
      return new StoreError('quota', `${text}: delete some of them, or raise store.maxSize`)
    }
    return new StoreError(
      'quota',
      'too many of the blobs in the quota are in use, other fetches need the room, or it would take that of most others',
    )
  }
}

function unwrittenOf({ bytes, written }: Reservation): number {
  return Math.max(0, bytes - written())
}
