import type { BlobIndex } from './blob-index.ts'
import type { Disk, DiskUsage } from './disk.ts'
import type { Quota } from './quota.ts'
import type { RecordsDisk } from './records-disk.ts'
import type { Uploads } from './uploads.ts'

/** What the store holds, and how much room there is on the disk of the blobs; in bytes. */
export interface StoreUsage extends DiskUsage {
  readonly bytes: number
  readonly maxBytes: number
  readonly blobs: number
  /** Of `bytes`, what was pushed to this node and is not evicted. */
  readonly keptBytes: number
  /** Pushes of blobs that are under way, or were left by their clients. */
  readonly uploads: number
  /** What they take of the quota, besides `bytes`. */
  readonly uploadBytes: number
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

interface Parts {
  readonly index: BlobIndex
  readonly disk: Disk
  readonly records: RecordsDisk
  readonly quota: Quota
  readonly uploads: Uploads
  /** Why nothing can be stored; undefined where all is well. */
  readonly problem: string | undefined
}

export function usageOf({ index, disk, records, quota: { evicted }, uploads, problem }: Parts): StoreUsage {
  return {
    bytes: index.heldBytes,
    maxBytes: index.capacity,
    blobs: index.blobs,
    keptBytes: index.keptBytes,
    uploads: uploads.count,
    uploadBytes: uploads.bytes,
    freeBytes: disk.freeBytes,
    minFreeBytes: disk.reserveBytes,
    isShort: disk.availableBytes < 0,
    unfreedBytes: disk.unfreedBytes,
    records: records.usage,
    evictedBlobs: evicted.blobs,
    evictedBytes: evicted.bytes,
    problem,
  }
}
