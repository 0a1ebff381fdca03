import { createReadStream } from 'node:fs'
import { chmod, constants, type FileHandle, open, stat, truncate } from 'node:fs/promises'
import { dirname } from 'node:path'
import { algorithmOf, createDigestHash, type Digest, finishDigest } from '../../proxy/oci/digest.ts'
import { BlobHasher } from '../verify/checkpoints.ts'
import { DigestMismatch } from '../verify/mismatch.ts'
import { type FilePlace, type Sha256Engine, WriteFailure } from '../verify/state.ts'
import { StoreError, writeError } from './errors.ts'
import { isMissing, syncFolder } from './folders.ts'
import type { Quota, Reservation } from './quota.ts'
import { writeAll } from './write.ts'

/** Arriving bytes are gathered while those before them are hashed and written, up to this many. */
const gatherBytes = 1024 * 1024

/** Bytes that are read at once where an upload is hashed again. */
const readBytes = 1024 * 1024

interface UploadOptions {
  readonly path: string
  /** Bytes that are there already. */
  readonly length: number
  /** When it was last used, in ms since the epoch. */
  readonly usedAt: number
  readonly now: () => number
  readonly quota: Quota
  /** Whether it is being used until it is removed, whatever happens with it. */
  readonly isHeld?: boolean
}

/**
 * A blob that is being pushed: a file that grows at its end, hashed as it arrives. Its bytes are in memory for a moment only: what
 * comes faster than it is written waits. One call at a time.
 */
export class Upload {
  readonly path: string
  readonly #quota: Quota
  readonly #now: () => number
  /** Undefined while its bytes count as those of a blob. */
  #reservation: Reservation | undefined
  readonly #isHeld: boolean
  #isBusy = false
  #length: number
  #usedAt: number
  /** Of the bytes so far; undefined where they have to be read again for it. */
  #hasher: BlobHasher | undefined

  constructor({ path, length, usedAt, now, quota, isHeld = false }: UploadOptions) {
    this.path = path
    this.#isHeld = isHeld
    this.#now = now
    this.#quota = quota
    this.#length = length
    this.#usedAt = usedAt
    this.reclaim()
  }

  /** Bytes that are in the file. */
  get length(): number {
    return this.#length
  }

  get usedAt(): number {
    return this.#usedAt
  }

  /** Whether something is being done with it. */
  get isBusy(): boolean {
    return this.#isBusy || this.#isHeld
  }

  /**
   * Appends bytes. Those that were written stay when it fails, and are durable in any case.
   * @param expected how many come, where that is known: nothing is read where they would not fit. Room is made as they come
   * @throws {StoreError} quota, no-space, io; truncated, where the disk has lost what was there; what `body` throws
   */
  async append(
    engine: Sha256Engine,
    body: AsyncIterable<Uint8Array>,
    expected: number | undefined,
    signal?: AbortSignal,
  ): Promise<void> {
    if (expected === 0) return
    await this.#use(true, async (file) => {
      const reservation = this.#reservation
      try {
        if (reservation !== undefined && expected !== undefined) {
          reservation.size = this.#length + expected
          await this.#quota.check(reservation)
        }
        const hasher = await this.#resume(engine, signal)
        const isNew = this.#length === 0
        try {
          await this.#write(file, hasher, body, Math.min(expected ?? gatherBytes, gatherBytes) || 1)
        } finally {
          await durably(isNew ? [file.datasync(), syncFolder(dirname(this.path))] : [file.datasync()])
        }
      } finally {
        if (reservation !== undefined) {
          this.#quota.shrink(reservation)
          reservation.size = reservation.bytes
        }
      }
    })
  }

  /**
   * Checks that the bytes have a digest; they are durable when it returns.
   * @returns their checkpoints; none for another digest than sha256
   * @throws {DigestMismatch}; {StoreError} io; truncated, where the disk has lost what was there
   */
  async prove(engine: Sha256Engine, digest: Digest, signal?: AbortSignal): Promise<Uint8Array | undefined> {
    return await this.#use(false, async (file) => {
      const algorithm = algorithmOf(digest)
      // Also what came from a process that was killed.
      await durably([file.datasync()])
      if (algorithm === 'sha256') {
        const proven = await (await this.#resume(engine, signal)).prove(digest)
        return proven.encode()
      }
      const hash = createDigestHash(algorithm)
      for await (const bytes of this.#read(signal)) hash.update(bytes)
      const actual = finishDigest(algorithm, hash)
      if (actual !== digest) throw new DigestMismatch(digest, actual)
      return undefined
    })
  }

  /** Gives back what it takes of the quota: its bytes are gone, or count as those of a blob. */
  release(): void {
    if (this.#reservation !== undefined) this.#quota.end(this.#reservation)
    this.#reservation = undefined
  }

  /** Its bytes count as its own again. */
  reclaim(): void {
    if (this.#reservation !== undefined) return
    this.#reservation = this.#quota.adopt(this.#length)
    this.#reservation.written = () => this.#length
  }

  async #use<T>(isWritten: boolean, work: (file: FileHandle) => Promise<T>): Promise<T> {
    this.#isBusy = true
    this.#usedAt = this.#now()
    try {
      const file = await this.#open(isWritten)
      try {
        return await work(file)
      } finally {
        await file.close()
      }
    } finally {
      this.#isBusy = false
      this.#usedAt = this.#now()
    }
  }

  async #open(isWritten: boolean): Promise<FileHandle> {
    try {
      const found = await stat(this.path).catch((error: unknown) => {
        if (isMissing(error)) return { size: 0, nlink: 1, mode: 0o600 }
        throw error
      })
      // A hole would come in its place.
      if (found.size < this.#length)
        throw new StoreError('truncated', 'the disk has lost what was sent of this upload: begin it anew')
      if (isWritten && found.nlink > 1)
        throw new StoreError('io', 'what was sent of this upload is a blob already: end it, or begin another one')
      // Of a blob that it was for a moment.
      if (isWritten && (found.mode & 0o200) === 0) await chmod(this.path, 0o600)
      // Bytes of a write that failed.
      if (found.size > this.#length) await truncate(this.path, this.#length)
      return await open(this.path, (isWritten ? constants.O_RDWR : constants.O_RDONLY) | constants.O_CREAT, 0o600)
    } catch (error) {
      throw error instanceof StoreError ? error : writeError(error)
    }
  }

  async #reserve(length: number): Promise<void> {
    if (this.#reservation === undefined) throw new Error('it has ended')
    const missing = length - this.#reservation.bytes
    if (missing > 0) await this.#quota.grow(this.#reservation, missing)
  }

  /** The hash of what is there; where it is not known, all of that is read again. */
  async #resume(engine: Sha256Engine, signal: AbortSignal | undefined): Promise<BlobHasher> {
    if (this.#hasher !== undefined) return this.#hasher
    const hasher = new BlobHasher(engine)
    for await (const bytes of this.#read(signal)) await hasher.push(bytes)
    this.#hasher = hasher
    return hasher
  }

  #read(signal: AbortSignal | undefined): AsyncIterable<Buffer> {
    if (this.#length === 0) return (async function* () {})()
    return createReadStream(this.path, { end: this.#length - 1, highWaterMark: readBytes, signal })
  }

  async #write(file: FileHandle, hasher: BlobHasher, body: AsyncIterable<Uint8Array>, bytes: number): Promise<void> {
    let gathering = Buffer.allocUnsafeSlow(bytes)
    let writing = Buffer.allocUnsafeSlow(bytes)
    let gathered = 0
    let pending: Promise<void> = Promise.resolve()
    /** Waits for the write before it, and starts the next one. */
    const flush = async () => {
      await pending
      ;[gathering, writing] = [writing, gathering]
      pending = this.#flush(file, hasher, writing.subarray(0, gathered))
      // It is awaited by the next one, or at the end.
      pending.catch(() => {})
      gathered = 0
    }
    try {
      for await (const piece of body) {
        for (let start = 0; start < piece.length; ) {
          const end = Math.min(piece.length, start + bytes - gathered)
          gathering.set(piece.subarray(start, end), gathered)
          gathered += end - start
          start = end
          if (gathered === bytes) await flush()
        }
      }
    } finally {
      // What has arrived of a body that was cut is good, too: its client goes on behind it.
      await flush().then(() => pending)
    }
  }

  async #flush(file: FileHandle, hasher: BlobHasher, bytes: Buffer): Promise<void> {
    if (bytes.length === 0) return
    await this.#reserve(this.#length + bytes.length)
    const start = this.#length
    try {
      await hasher.push(bytes, (position) => placeIn(file, position))
      this.#length = hasher.length
    } catch (error) {
      this.#hasher = undefined
      this.#length = start
      throw error
    }
  }
}

/** @throws {StoreError} no-space, io */
async function durably(syncs: readonly Promise<void>[]): Promise<void> {
  await Promise.all(syncs).catch((error: unknown) => {
    throw writeError(error)
  })
}

function placeIn(file: FileHandle, position: number): FilePlace {
  return {
    write: (bytes) => writeAll(file, bytes, position),
    writeBy: async (write) => {
      try {
        return await write(file.fd, position)
      } catch (error) {
        throw error instanceof WriteFailure ? writeError(error) : error
      }
    },
  }
}
