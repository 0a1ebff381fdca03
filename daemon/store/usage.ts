import type { BlobIndex } from './blob-index.ts'
import type { Disk } from './disk.ts'
import type { Quota } from './quota.ts'

/** What the store holds, and how much room there is; in bytes. */
export interface StoreUsage {
  readonly bytes: number
  readonly maxBytes: number
  readonly blobs: number
  /** Of `bytes`, what was pushed to this node and is not evicted. */
  readonly keptBytes: number
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

/** @param problem why nothing can be stored; undefined where all is well */
export function usageOf(index: BlobIndex, disk: Disk, { evicted }: Quota, problem: string | undefined): StoreUsage {
  return {
    bytes: index.heldBytes,
    maxBytes: index.capacity,
    blobs: index.blobs,
    keptBytes: index.keptBytes,
    freeBytes: disk.freeBytes,
    minFreeBytes: disk.reserveBytes,
    isShort: disk.availableBytes < 0,
    evictedBlobs: evicted.blobs,
    evictedBytes: evicted.bytes,
    problem,
  }
}
