import type { Digest } from '../../proxy/oci/digest.ts'
import type { BlobRecord } from './metadata.ts'

interface Entry {
  record: BlobRecord
  /** Readers that have it open; a blob in use is not evicted. */
  pins: number
}

/**
 * Which blobs are held, least recently used first, and how many bytes they and the reservations take of the quota.
 * In memory and without I/O: a decision of the store can be tested with a table.
 */
export class BlobIndex {
  /** A Map keeps insertion order: an access takes an entry out and puts it back at the end. */
  readonly #entries = new Map<Digest, Entry>()
  #heldBytes = 0
  #reservedBytes = 0
  readonly capacity: number

  /** @param capacity quota in bytes */
  constructor(capacity: number) {
    this.capacity = capacity
  }

  get blobs(): number {
    return this.#entries.size
  }

  get heldBytes(): number {
    return this.#heldBytes
  }

  /** Bytes that are free to be reserved; negative where more is held than the quota allows. */
  get freeBytes(): number {
    return this.capacity - this.#heldBytes - this.#reservedBytes
  }

  add(digest: Digest, record: BlobRecord): void {
    const before = this.#entries.get(digest)
    this.#heldBytes += record.size - (before?.record.size ?? 0)
    this.#entries.delete(digest)
    this.#entries.set(digest, { record, pins: before?.pins ?? 0 })
  }

  get(digest: Digest): BlobRecord | undefined {
    return this.#entries.get(digest)?.record
  }

  /** Replaces the record of a blob that is held, without counting as an access. */
  update(digest: Digest, record: BlobRecord): void {
    const entry = this.#entries.get(digest)
    if (entry !== undefined) entry.record = record
  }

  /** Pins a blob against eviction. @returns what ends that, once */
  pin(digest: Digest): (() => void) | undefined {
    const entry = this.#entries.get(digest)
    if (entry === undefined) return undefined
    entry.pins += 1
    let isPinned = true
    return () => {
      if (isPinned) entry.pins -= 1
      isPinned = false
    }
  }

  /** Marks a blob as used now. */
  touch(digest: Digest, now: number): void {
    const entry = this.#entries.get(digest)
    if (entry === undefined) return
    this.#entries.delete(digest)
    entry.record = { ...entry.record, lastAccess: now }
    this.#entries.set(digest, entry)
  }

  remove(digest: Digest): void {
    const entry = this.#entries.get(digest)
    if (entry === undefined) return
    this.#heldBytes -= entry.record.size
    this.#entries.delete(digest)
  }

  /** The blob to evict next: the least recently used that is not pinned. */
  oldestUnpinned(): Digest | undefined {
    for (const [digest, entry] of this.#entries) if (entry.pins === 0) return digest
    return undefined
  }

  /** Bytes that evicting all that is not in use would free. */
  evictableBytes(): number {
    let bytes = 0
    for (const { record, pins } of this.#entries.values()) if (pins === 0) bytes += record.size
    return bytes
  }

  reserve(bytes: number): void {
    this.#reservedBytes += bytes
  }

  release(bytes: number): void {
    this.#reservedBytes -= bytes
  }

  /** Held digests, most recently used first. */
  newestFirst(): Digest[] {
    return [...this.#entries.keys()].reverse()
  }
}
