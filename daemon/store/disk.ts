import { stat, statfs } from 'node:fs/promises'
import type { Room } from '../../config/scalars.ts'

/** The room on a disk, in bytes. */
export interface DiskUsage {
  /** When it was last measured; undefined where the file system does not say. */
  readonly freeBytes: number | undefined
  /** Of those, what stays free. */
  readonly minFreeBytes: number
  /** Whether less is free, and nothing is left to evict. */
  readonly isShort: boolean
}

/** The space of a file system, in bytes. */
export interface DiskSpace {
  readonly totalBytes: number
  /** What this process may still write: blocks that are kept for root don't count. */
  readonly freeBytes: number
}

/** Asks the file system of a folder. @throws where the folder is gone */
export async function measureDisk(folder: string): Promise<DiskSpace> {
  const { bsize, blocks, bavail } = await statfs(folder)
  return { totalBytes: bsize * blocks, freeBytes: bsize * bavail }
}

/** Whether two folders are on the same file system; so it is taken to be where one of them can't be looked at. */
export async function onSameDisk(one: string, other: string): Promise<boolean> {
  const found = await Promise.all([one, other].map((folder) => stat(folder).catch(() => undefined)))
  return found.includes(undefined) || found[0]?.dev === found[1]?.dev
}

/** A measurement that is younger than this, in ms, is good enough for a fetch that reserves its room. */
const freshFor = 1_000

/** A share of the disk counts for no more than this: 5 % of a large disk would be more than any program needs. */
const largestShare = 10 * 2 ** 30

/** What the databases need beside the blobs, whatever is configured; on a small disk `smallestShare` of it. */
const databaseRoom = 16 * 2 ** 20
const smallestShare = 0.05

/** Bytes of a disk that stay free. */
export function reserveOf(minFree: Room, totalBytes: number): number {
  const wanted = 'bytes' in minFree ? minFree.bytes : Math.min(minFree.share * totalBytes, largestShare)
  return Math.ceil(Math.max(wanted, Math.min(databaseRoom, smallestShare * totalBytes)))
}

/**
 * File systems free what was deleted within this time, in ms: btrfs, the slowest of the common ones, every 30 s. Until then it counts
 * as free.
 */
const lateFor = 60_000

/**
 * What was not freed within this time, in ms, is forgotten. Until then nothing is deleted in its place, as that would be held by the
 * same snapshot, or be in vain like it; after it, one more deletion shows whether it helps now.
 */
const heldFor = 600_000

/** Deletions within this time, in ms, are one. */
const sameDeletion = 1_000

interface Deletion {
  /** All of it. */
  bytes: number
  /** What has been seen as free. */
  freed: number
  readonly at: number
}

interface DiskOptions {
  readonly minFree: Room
  readonly measure: () => Promise<DiskSpace>
  /** ms on a clock that only goes forward. */
  readonly clock?: () => number
}

/**
 * How much may be written to the disk of the store. It is measured now and then; between measurements the sum is carried on, so
 * that bytes that are reserved and not written yet are given to nobody else.
 */
export class Disk {
  readonly #options: DiskOptions
  readonly #clock: () => number
  #space: DiskSpace | undefined
  #available = Number.POSITIVE_INFINITY
  #measuredAt = Number.NEGATIVE_INFINITY
  /** Bytes that were to be written when it was last measured, and those that were taken and given back since then. */
  #unwritten = 0
  /** What was deleted and has not been seen as free yet, the oldest first. */
  #deletions: Deletion[] = []

  constructor(options: DiskOptions) {
    this.#options = options
    this.#clock = options.clock ?? (() => performance.now())
  }

  /** Free bytes when it was last measured; undefined where the file system does not say. */
  get freeBytes(): number | undefined {
    return this.#space?.freeBytes
  }

  /** Bytes that are to stay free. */
  get reserveBytes(): number {
    return this.#space === undefined ? 0 : reserveOf(this.#options.minFree, this.#space.totalBytes)
  }

  /** Bytes that can be reserved; negative where the reserve is not free. */
  get availableBytes(): number {
    return this.#available + this.#deleted((age) => age <= lateFor)
  }

  /** Bytes that were deleted and that something holds: a snapshot, or a file that is open. */
  get unfreedBytes(): number {
    return this.#deleted((age) => age > lateFor)
  }

  /** Measures, where that is a while ago. @param unwritten bytes that are reserved and not on the disk yet */
  async refresh(unwritten: () => number): Promise<void> {
    if (this.#clock() - this.#measuredAt >= freshFor) await this.measure(unwritten)
  }

  /** Measures now. @param unwritten as in `refresh` */
  async measure(unwritten: () => number): Promise<void> {
    const now = this.#clock()
    this.#measuredAt = now
    const before = this.#space?.freeBytes
    const space = await this.#options.measure().catch(() => undefined)
    // Some network file systems say 0 of 0 bytes.
    this.#space = space !== undefined && space.totalBytes > 0 ? space : undefined
    const free = this.#space?.freeBytes ?? Number.POSITIVE_INFINITY
    const left = unwritten()
    const written = Math.max(0, this.#unwritten - left)
    this.#unwritten = left
    this.#available = free - this.reserveBytes - left
    this.#deletions = this.#deletions.filter(({ at }) => now - at <= heldFor)
    this.#freed(before === undefined ? 0 : free - before + written)
  }

  /** Bytes were reserved. */
  take(bytes: number): void {
    this.#available -= bytes
    this.#unwritten += bytes
  }

  /** Bytes that were reserved are not going to be written. */
  give(bytes: number): void {
    this.#available += bytes
    this.#unwritten -= bytes
  }

  /** Bytes were deleted. They count as free from now on; the file system may count them later, or never. */
  delete(bytes: number): void {
    const now = this.#clock()
    const last = this.#deletions.at(-1)
    if (last !== undefined && now - last.at < sameDeletion) last.bytes += bytes
    else this.#deletions.push({ bytes, freed: 0, at: now })
  }

  /** So many bytes more are free than before: those that were deleted first. */
  #freed(bytes: number): void {
    let rest = bytes
    for (const deletion of this.#deletions) {
      const share = Math.max(0, Math.min(rest, deletion.bytes - deletion.freed))
      deletion.freed += share
      rest -= share
    }
    // File systems that compress free less than a file's length.
    this.#deletions = this.#deletions.filter((one) => one.freed < one.bytes / 2)
  }

  #deleted(isMeant: (age: number) => boolean): number {
    const now = this.#clock()
    return this.#deletions.reduce((sum, { bytes, freed, at }) => sum + (isMeant(now - at) ? bytes - freed : 0), 0)
  }
}
