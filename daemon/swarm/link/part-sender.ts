import type { PartHead } from '../ports.ts'
import type { Buffers } from './buffers.ts'
import { MAX_PART_BYTES, SLICE_BYTES, SLICES_IN_FLIGHT } from './constants.ts'
import { SLICE_HEAD_BYTES, writeSliceHead } from './slice.ts'

interface Sending {
  readonly head: PartHead
  readonly bytes: Uint8Array
  /** Bytes that the system was given. */
  offset: number
  readonly settle: (error?: Error) => void
}

interface PartSenderOptions {
  /** Each as long as a slice and its head. */
  readonly buffers: Buffers
  /** Bytes of parts that the system has taken. */
  readonly moved: (bytes: number) => void
}

/** Writes to a connection. The callback is called when the system has taken the bytes, or with an error where it never will. */
type Write = (bytes: Buffer, callback: (error?: Error | null) => void) => void

/**
 * Sends parts one after the other over one connection, in slices. Head and bytes of a slice are copied into one buffer. As two
 * buffers they would be two TLS records, and Node would copy them into fresh memory.
 */
export class PartSender {
  readonly #options: PartSenderOptions
  readonly #queue = new Set<Sending>()
  #write: Write | undefined
  #inFlight = 0
  #closed: Error | undefined
  #waitingSince: number | undefined

  constructor(options: PartSenderOptions) {
    this.#options = options
  }

  /** Since when the system has taken nothing (performance.now()); undefined while it has been given nothing. */
  get waitingSince(): number | undefined {
    return this.#waitingSince
  }

  /** The connection stands. */
  start(write: Write): void {
    this.#write = write
    this.#pump()
  }

  /**
   * Resolves when the system has taken all. Rejects where the link ends, or with the signal's reason. `bytes` is not read after that.
   */
  send(head: PartHead, bytes: Uint8Array, signal: AbortSignal): Promise<void> {
    if (bytes.length === 0 || bytes.length > MAX_PART_BYTES) {
      return Promise.reject(new RangeError(`a part of ${bytes.length} bytes; it must have 1 to ${MAX_PART_BYTES}`))
    }
    if (this.#closed !== undefined) return Promise.reject(this.#closed)
    if (signal.aborted) return Promise.reject(signal.reason)
    return new Promise((resolve, reject) => {
      const onAbort = () => {
        sending.settle(signal.reason)
        this.#pump()
      }
      const sending: Sending = {
        head,
        bytes,
        offset: 0,
        settle: (error) => {
          this.#queue.delete(sending)
          signal.removeEventListener('abort', onAbort)
          if (error === undefined) resolve()
          else reject(error)
        },
      }
      signal.addEventListener('abort', onAbort, { once: true })
      this.#queue.add(sending)
      this.#pump()
    })
  }

  /** Rejects what waits. */
  close(reason: Error): void {
    this.#closed = reason
    for (const sending of [...this.#queue]) sending.settle(reason)
  }

  #pump(): void {
    if (this.#write === undefined || this.#closed !== undefined) return
    for (const sending of this.#queue) {
      while (this.#inFlight < SLICES_IN_FLIGHT && sending.offset < sending.bytes.length)
        this.#next(sending, this.#write)
      if (this.#inFlight === SLICES_IN_FLIGHT) return
    }
  }

  #next(sending: Sending, write: Write): void {
    const { head, bytes, offset } = sending
    const length = Math.min(SLICE_BYTES, bytes.length - offset)
    const buffer = this.#options.buffers.take()
    writeSliceHead(buffer, { id: head.id, quarter: head.quarter, total: bytes.length, offset, length })
    buffer.set(
      offset === 0 && length === bytes.length ? bytes : bytes.subarray(offset, offset + length),
      SLICE_HEAD_BYTES,
    )
    sending.offset += length
    const isLast = sending.offset === bytes.length
    this.#inFlight++
    this.#waitingSince ??= performance.now()
    write(buffer.subarray(0, SLICE_HEAD_BYTES + length), (error) => {
      this.#options.buffers.giveBack(buffer)
      this.#inFlight--
      this.#waitingSince = this.#inFlight === 0 ? undefined : performance.now()
      // The link ends with the connection, and closes this sender.
      if (error || this.#closed !== undefined) return
      this.#options.moved(length)
      if (isLast) sending.settle()
      this.#pump()
    })
  }
}
