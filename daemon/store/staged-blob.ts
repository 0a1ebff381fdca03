import type { Hash } from 'node:crypto'
import type { FileHandle } from 'node:fs/promises'
import { algorithmOf, createDigestHash, type Digest, finishDigest } from '../../proxy/oci/digest.ts'
import { DigestMismatch } from '../verify/mismatch.ts'
import { readBytes } from './read.ts'
import { writeAll } from './write.ts'

/** Arriving bytes are gathered while the write before them runs, up to this many. */
const gatherBytes = 1024 * 1024

interface StagedBlobOptions {
  readonly digest: Digest
  readonly file: FileHandle
  /** Makes room in the quota for so many more bytes. @throws {StoreError} no-space */
  readonly reserve: (bytes: number) => Promise<void>
  /** Called when bytes have become readable. */
  readonly onProgress: () => void
}

/** A blob that is being written: hashed as it arrives, readable up to `readable` while it grows. */
export class StagedBlob {
  readonly #options: StagedBlobOptions
  readonly #hash: Hash
  #gathering = Buffer.allocUnsafeSlow(gatherBytes)
  #flushing = Buffer.allocUnsafeSlow(gatherBytes)
  #gathered = 0
  #readable = 0
  #pending: Promise<void> | undefined
  /** Digest state at `readable`; kept so that a transfer can go on without the store when the disk is full. */
  #hashOfReadable: Hash

  constructor(options: StagedBlobOptions) {
    this.#options = options
    this.#hash = createDigestHash(algorithmOf(options.digest))
    this.#hashOfReadable = this.#hash.copy()
  }

  /** Bytes from the start that are in the file. */
  get readable(): number {
    return this.#readable
  }

  /** The running hash of the bytes up to `readable`. */
  hashOfReadable(): Hash {
    return this.#hashOfReadable.copy()
  }

  /**
   * Appends a chunk. Returns as soon as the chunk's memory may be used again; waits only when the disk is slower.
   * @throws {StoreError} no-space, io; everything up to `readable` stays readable
   */
  async write(chunk: Uint8Array): Promise<void> {
    let offset = 0
    while (offset < chunk.length) {
      const taken = Math.min(chunk.length - offset, gatherBytes - this.#gathered)
      this.#gathering.set(chunk.subarray(offset, offset + taken), this.#gathered)
      this.#gathered += taken
      offset += taken
      if (this.#pending === undefined) this.#startFlush()
      else if (this.#gathered === gatherBytes) await this.#pending
    }
  }

  /** Waits until all that was written is in the file, and checks the digest. @throws {DigestMismatch}, or {StoreError} no-space, io */
  async finish(): Promise<void> {
    await this.#drain()
    const { digest } = this.#options
    const actual = finishDigest(algorithmOf(digest), this.#hash.copy())
    if (actual !== digest) throw new DigestMismatch(digest, actual)
  }

  /** Bytes `start` to `end` inclusive, all of which must be below `readable`. */
  read(start: number, end: number, signal: AbortSignal): AsyncIterable<Uint8Array> {
    return readBytes(this.#options.file, start, end, signal)
  }

  /** Makes the file durable. */
  async sync(): Promise<void> {
    await this.#options.file.sync()
  }

  /** Closes the file, when nobody reads from it any more. */
  async close(): Promise<void> {
    await this.#pending?.catch(() => {})
    await this.#options.file.close()
  }

  async #drain(): Promise<void> {
    while (this.#pending !== undefined || this.#gathered > 0) {
      if (this.#pending === undefined) this.#startFlush()
      await this.#pending
    }
  }

  /** Swaps the buffers and writes the gathered one; what arrives meanwhile is gathered in the other. */
  #startFlush(): void {
    const length = this.#gathered
    ;[this.#gathering, this.#flushing] = [this.#flushing, this.#gathering]
    this.#gathered = 0
    const flush = this.#flush(this.#flushing.subarray(0, length))
    flush.catch(() => {})
    this.#pending = flush
  }

  async #flush(bytes: Buffer): Promise<void> {
    // A failure stays in #pending, so that the next write or finish sees it.
    await this.#options.reserve(bytes.length)
    // Hashed on this thread while the write runs on another.
    const writing = writeAll(this.#options.file, bytes, this.#readable)
    this.#hash.update(bytes)
    await writing
    this.#hashOfReadable = this.#hash.copy()
    this.#readable += bytes.length
    this.#pending = undefined
    this.#options.onProgress()
  }
}
