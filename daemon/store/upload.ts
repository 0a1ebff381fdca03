import { createReadStream } from 'node:fs'
import { constants, type FileHandle, open } from 'node:fs/promises'
import { algorithmOf, createDigestHash, type Digest, finishDigest } from '../../proxy/oci/digest.ts'
import { BlobHasher } from '../verify/checkpoints.ts'
import { DigestMismatch } from '../verify/mismatch.ts'
import { type FilePlace, type Sha256Engine, WriteFailure } from '../verify/state.ts'
import { writeError } from './errors.ts'
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
  /** When something was last written, in ms since the epoch. */
  readonly usedAt: number
  /** Of `length` bytes. */
  readonly reservation: Reservation
  readonly quota: Quota
}

/**
 * A blob that is being pushed: a file that grows at its end, hashed as it arrives. Its bytes are in memory for a moment only: what
 * comes faster than it is written waits. One call at a time.
 */
export class Upload {
  readonly path: string
  readonly #quota: Quota
  readonly #reservation: Reservation
  #length: number
  #usedAt: number
  /** Of the bytes so far; undefined where they have to be read again for it. */
  #hasher: BlobHasher | undefined

  constructor({ path, length, usedAt, reservation, quota }: UploadOptions) {
    this.path = path
    this.#quota = quota
    this.#reservation = reservation
    this.#length = length
    this.#usedAt = usedAt
    reservation.written = () => this.#length
  }

  /** Bytes that are in the file. */
  get length(): number {
    return this.#length
  }

  get usedAt(): number {
    return this.#usedAt
  }

  /**
   * Appends bytes. Those that were written stay when it fails; all of them are durable when it returns.
   * @param expected how many come, where that is known: room for them is made before the first one is read
   * @throws {StoreError} quota, no-space, io; what `body` throws
   */
  async append(engine: Sha256Engine, body: AsyncIterable<Uint8Array>, expected: number | undefined): Promise<void> {
    if (expected === 0) return
    await this.#reserve(this.#length + (expected ?? 0))
    const file = await this.#open()
    try {
      const hasher = await this.#resume(engine, file)
      await this.#write(file, hasher, body, Math.min(expected ?? gatherBytes, gatherBytes) || 1)
      await file.datasync().catch((error: unknown) => {
        throw writeError(error)
      })
    } finally {
      this.#usedAt = Date.now()
      this.#quota.shrink(this.#reservation)
      await file.close()
    }
  }

  /**
   * Checks that the bytes have a digest.
   * @returns their checkpoints; none for another digest than sha256
   * @throws {DigestMismatch}, {StoreError} io
   */
  async prove(engine: Sha256Engine, digest: Digest): Promise<Uint8Array | undefined> {
    const file = await this.#open()
    try {
      const algorithm = algorithmOf(digest)
      if (algorithm === 'sha256') {
        const proven = await (await this.#resume(engine, file)).prove(digest)
        return proven.encode()
      }
      const hash = createDigestHash(algorithm)
      for await (const bytes of this.#read()) hash.update(bytes)
      const actual = finishDigest(algorithm, hash)
      if (actual !== digest) throw new DigestMismatch(digest, actual)
      return undefined
    } finally {
      await file.close()
    }
  }

  /** It has become a blob of the store, which counts it from now on. */
  placed(): void {
    this.#quota.end(this.#reservation)
  }

  /** What it took of the quota is given back. */
  end(): void {
    this.#quota.end(this.#reservation)
  }

  async #open(): Promise<FileHandle> {
    try {
      return await open(this.path, constants.O_RDWR | constants.O_CREAT, 0o600)
    } catch (error) {
      throw writeError(error)
    }
  }

  async #reserve(length: number): Promise<void> {
    const missing = length - this.#reservation.bytes
    if (missing > 0) await this.#quota.grow(this.#reservation, missing)
  }

  /** The hash of what is there; where it is not known, all of that is read again. */
  async #resume(engine: Sha256Engine, file: FileHandle): Promise<BlobHasher> {
    if (this.#hasher !== undefined) return this.#hasher
    // Behind that there may be bytes of a write that failed.
    await file.truncate(this.#length)
    const hasher = new BlobHasher(engine)
    if (this.#length > 0) for await (const bytes of this.#read()) await hasher.push(bytes)
    this.#hasher = hasher
    return hasher
  }

  #read(): AsyncIterable<Buffer> {
    if (this.#length === 0) return (async function* () {})()
    return createReadStream(this.path, { end: this.#length - 1, highWaterMark: readBytes })
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
