/** What the store holds, and how much room there is; in bytes. */
export interface StoreUsage {
  readonly bytes: number
  readonly maxBytes: number
  readonly blobs: number
  /** On its disk, when that was last measured; undefined where the file system does not say. */
  readonly freeBytes: number | undefined
  /** Of those, what stays free. */
  readonly minFreeBytes: number
  /** Whether less is free, and nothing is left to evict. */
  readonly isShort: boolean
  /** Removed for their room since the start. */
  readonly evictedBlobs: number
  readonly evictedBytes: number
  /** Why nothing can be stored at all; undefined where all is well. */
  readonly problem: string | undefined
}
