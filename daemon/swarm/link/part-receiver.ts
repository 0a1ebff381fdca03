import type { PartHead } from '../ports.ts'
import type { Buffers } from './buffers.ts'
import { readSliceHead, SLICE_HEAD_BYTES, type SliceHead } from './slice.ts'

interface Part extends PartHead {
  readonly total: number
  readonly buffer: Buffer
}

interface PartReceiverOptions {
  /** Each as long as the longest part. */
  readonly buffers: Buffers
  /** Takes a part. Its memory is used again when the promise settles. */
  readonly deliver: (head: PartHead, bytes: Buffer) => Promise<void>
  /** This many bytes of parts have come. */
  readonly moved: (bytes: number) => void
  /** No more may be pushed until `resume`. */
  readonly pause: () => void
  readonly resume: () => void
  /** Called where `deliver` rejects, or bytes that waited during a pause break the protocol. */
  readonly fail: (error: Error) => void
}

const nothing = Buffer.alloc(0)

/**
 * Gathers the slices that come over one connection into parts. While a part is being taken, one more is read and no other. So a
 * node that can't keep up slows down the sender.
 */
export class PartReceiver {
  readonly #options: PartReceiverOptions
  readonly #head = Buffer.alloc(SLICE_HEAD_BYTES)
  #headLength = 0
  /** Bytes of the slice that are still to come; 0 while a head is read. */
  #sliceLeft = 0
  #part: Part | undefined
  /** Bytes of the part that have come. */
  #filled = 0
  #isDelivering = false
  /** A part that is whole, while another one is being taken. */
  #next: Part | undefined
  /** Bytes that came behind it before the socket stood still. */
  #rest: Buffer = nothing
  #isClosed = false

  constructor(options: PartReceiverOptions) {
    this.#options = options
  }

  /** The memory may be used again when it returns. @throws {Error} for a malformed slice, and for one that does not follow */
  push(bytes: Buffer): void {
    const rest = this.#take(bytes)
    if (this.#next === undefined || this.#isClosed) return
    if (rest.length > 0) this.#rest = Buffer.concat([this.#rest, rest])
    this.#options.pause()
  }

  /** Takes what there is room for, and gives the rest. */
  #take(bytes: Buffer): Buffer {
    let at = 0
    while (at < bytes.length && this.#next === undefined && !this.#isClosed) {
      at += this.#sliceLeft === 0 ? this.#takeHead(bytes, at) : this.#takeBytes(bytes, at)
    }
    return bytes.subarray(at)
  }

  /** Nothing more is delivered. */
  close(): void {
    this.#isClosed = true
    for (const part of [this.#part, this.#next]) if (part !== undefined) this.#options.buffers.giveBack(part.buffer)
    this.#part = undefined
    this.#next = undefined
    this.#rest = nothing
  }

  #takeHead(bytes: Buffer, at: number): number {
    const taken = Math.min(SLICE_HEAD_BYTES - this.#headLength, bytes.length - at)
    bytes.copy(this.#head, this.#headLength, at, at + taken)
    this.#headLength += taken
    if (this.#headLength === SLICE_HEAD_BYTES) {
      this.#headLength = 0
      this.#begin(readSliceHead(this.#head))
    }
    return taken
  }

  #begin({ id, quarter, total, offset, length }: SliceHead): void {
    if (offset === 0) {
      // The sender has given up a part that is not whole.
      const buffer = this.#part?.buffer ?? this.#options.buffers.take()
      this.#part = { id, quarter, total, buffer }
      this.#filled = 0
    }
    const part = this.#part
    const follows = part?.id === id && part.quarter === quarter && part.total === total && offset === this.#filled
    if (!follows)
      throw new Error(`a slice at ${offset} of quarter ${quarter} for ${id} does not follow what came before it`)
    this.#sliceLeft = length
  }

  #takeBytes(bytes: Buffer, at: number): number {
    const part = this.#part
    const taken = Math.min(this.#sliceLeft, bytes.length - at)
    if (part === undefined) return taken
    bytes.copy(part.buffer, this.#filled, at, at + taken)
    this.#filled += taken
    this.#sliceLeft -= taken
    this.#options.moved(taken)
    if (this.#filled === part.total && !this.#isClosed) {
      this.#part = undefined
      if (this.#isDelivering) this.#next = part
      else this.#deliver(part)
    }
    return taken
  }

  #deliver({ id, quarter, total, buffer }: Part): void {
    this.#isDelivering = true
    this.#options.deliver({ id, quarter }, buffer.subarray(0, total)).then(
      () => this.#delivered(buffer),
      (error) => {
        this.#options.fail(error)
        this.#delivered(buffer)
      },
    )
  }

  #delivered(buffer: Buffer): void {
    this.#options.buffers.giveBack(buffer)
    this.#isDelivering = false
    const next = this.#next
    if (next === undefined || this.#isClosed) return
    this.#next = undefined
    this.#deliver(next)
    try {
      this.#rest = this.#take(this.#rest)
    } catch (error) {
      this.#options.fail(error as Error)
    }
    if (this.#next === undefined && !this.#isClosed) this.#options.resume()
  }
}
