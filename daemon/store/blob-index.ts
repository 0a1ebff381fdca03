import type { Digest } from '../../proxy/oci/digest.ts'
import type { BlobRecord } from './metadata.ts'

interface Entry {
  record: BlobRecord
  /** Readers that have it open; a blob in use is not evicted. */
  pins: number
}

function keptBytesOf(record: BlobRecord | undefined): number {
  return record?.kept === true ? record.size : 0
}

/** What is being read stays for its readers, what was pushed until somebody deletes it. */
function isEvictable({ record, pins }: Entry): boolean {
  return pins === 0 && record.kept !== true
}

/**
 * Which blobs are held, least recently used first, and how many bytes they and the reservations take of the quota.
 * In memory and without I/O: a decision of the store can be tested with a table.
 */
export class BlobIndex {
  /** A Map keeps insertion order: an access takes an entry out and puts it back at the end. */
  readonly #entries = new Map<Digest, Entry>()
  /** How many blobs of each `registry/repository` are held. */
  readonly #repositories = new Map<string, number>()
  #heldBytes = 0
  #keptBytes = 0
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

  /** Whether any blob of a `registry/repository` is held. */
  holdsOf(repository: string): boolean {
    return this.#repositories.has(repository)
  }

  add(digest: Digest, record: BlobRecord): void {
    const before = this.#entries.get(digest)
    this.#count(before?.record, record)
    this.#entries.delete(digest)
    this.#entries.set(digest, { record, pins: before?.pins ?? 0 })
  }

  get(digest: Digest): BlobRecord | undefined {
    return this.#entries.get(digest)?.record
  }

  /** Replaces the record of a blob that is held, without counting as an access. */
  update(digest: Digest, record: BlobRecord): void {
    const entry = this.#entries.get(digest)
    if (entry === undefined) return
    this.#count(entry.record, record)
    entry.record = record
  }

  /** Pins a blob against eviction while it is read. @returns what ends that, once */
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
    this.#count(entry.record, undefined)
    this.#entries.delete(digest)
  }

  /** Whether a blob is held that may be evicted. */
  isEvictable(digest: Digest): boolean {
    const entry = this.#entries.get(digest)
    return entry !== undefined && isEvictable(entry)
  }

  /** The blob to evict next: the least recently used of those that may be. */
  oldestEvictable(): Digest | undefined {
    for (const [digest, entry] of this.#entries) if (isEvictable(entry)) return digest
    return undefined
  }

  /** Bytes that evicting all that is not in use would free. @param before what was used since then does not count; in ms since the epoch */
  evictableBytes(before = Number.POSITIVE_INFINITY): number {
    let bytes = 0
    for (const entry of this.#entries.values()) {
      if (isEvictable(entry) && entry.record.lastAccess < before) bytes += entry.record.size
    }
    return bytes
  }

  /** Bytes that no eviction takes. */
  get keptBytes(): number {
    return this.#keptBytes
  }

  #count(before: BlobRecord | undefined, after: BlobRecord | undefined): void {
    this.#heldBytes += (after?.size ?? 0) - (before?.size ?? 0)
    this.#keptBytes += keptBytesOf(after) - keptBytesOf(before)
    if (before?.repositories === after?.repositories) return
    for (const one of after?.repositories ?? []) this.#repositories.set(one, (this.#repositories.get(one) ?? 0) + 1)
    for (const one of before?.repositories ?? []) {
      const left = (this.#repositories.get(one) ?? 0) - 1
      if (left > 0) this.#repositories.set(one, left)
      else this.#repositories.delete(one)
    }
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
