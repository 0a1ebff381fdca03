/** The room on a disk, in bytes. */
export interface DiskUsage {
  /** When it was last measured; undefined where the file system does not say. */
  readonly freeBytes: number | undefined
  /** Of those, what stays free. */
  readonly minFreeBytes: number
  /** Whether less is free, and nothing is left to evict. */
  readonly isShort: boolean
}

/** What the store holds, and how much room there is on the disk of the blobs; in bytes. */
export interface StoreUsage extends DiskUsage {
  readonly bytes: number
  readonly maxBytes: number
  readonly blobs: number
  /** Bytes that were evicted, and that the file system has not freed for a while. */
  readonly unfreedBytes: number
  /** The disk of the records; undefined where it is the same one. */
  readonly records: DiskUsage | undefined
  /** Removed for their room since the start. */
  readonly evictedBlobs: number
  readonly evictedBytes: number
  /** Why nothing can be stored at all; undefined where all is well. */
  readonly problem: string | undefined
}
