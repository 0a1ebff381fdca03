import { Disk, type DiskSpace, type DiskUsage, onSameDisk } from './disk.ts'

interface RecordsDiskOptions {
  readonly dataDir: string
  /** Folder of the blobs. */
  readonly blobs: string
  /** Measures the disk of a folder. */
  readonly measure: (folder: string) => Promise<DiskSpace>
}

/**
 * The disk of the databases, where blobs have one of their own. No eviction makes room on it, so it is only looked at: blobs whose
 * records can't be written are not kept.
 */
export class RecordsDisk {
  readonly #options: RecordsDiskOptions
  readonly #disk: Disk
  #isSame = true

  constructor(options: RecordsDiskOptions) {
    this.#options = options
    // Of the options, `store.minFree` is about blobs. What the databases need stays free in any case.
    this.#disk = new Disk({ minFree: { bytes: 0 }, measure: () => options.measure(options.dataDir) })
  }

  /** Undefined where the blobs are on the same disk. */
  get usage(): DiskUsage | undefined {
    if (this.#isSame) return undefined
    const { freeBytes, reserveBytes: minFreeBytes, availableBytes } = this.#disk
    return { freeBytes, minFreeBytes, isShort: availableBytes < 0 }
  }

  async look(): Promise<void> {
    const { dataDir, blobs } = this.#options
    this.#isSame = await onSameDisk(dataDir, blobs)
    if (!this.#isSame) await this.#disk.measure(() => 0)
  }
}
