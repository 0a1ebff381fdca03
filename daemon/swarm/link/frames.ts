import { MAX_MESSAGE_BYTES } from './constants.ts'

const lengthBytes = 4

/** In the place of a length: the sender has parts, and asks to be connected to for them. */
const PARTS_WAIT = 0xffff_ffff
const empty = Buffer.alloc(0)

/** Least room for the messages of a write, in bytes. */
const FIRST_BYTES = 1024

/** Messages that wait to be written, in one buffer. Each follows its length in 4 bytes (big-endian). */
export class FrameWriter {
  #buffer: Buffer = empty
  #length = 0

  /** Bytes that wait. */
  get length(): number {
    return this.#length
  }

  /** Adds a message, and copies it. */
  push(message: Uint8Array): void {
    const end = this.#grow(lengthBytes + message.length)
    this.#buffer.writeUInt32BE(message.length, this.#length)
    this.#buffer.set(message, this.#length + lengthBytes)
    this.#length = end
  }

  /** Says that parts wait here. */
  pushPartsWait(): void {
    const end = this.#grow(lengthBytes)
    this.#buffer.writeUInt32BE(PARTS_WAIT, this.#length)
    this.#length = end
  }

  /** Makes room, and gives the new length. */
  #grow(bytes: number): number {
    const end = this.#length + bytes
    if (end > this.#buffer.length) {
      const larger = Buffer.allocUnsafe(Math.max(FIRST_BYTES, 2 * this.#buffer.length, end))
      larger.set(this.#buffer.subarray(0, this.#length))
      this.#buffer = larger
    }
    return end
  }

  /** Gives all that waits, in memory that is the caller's. */
  take(): Buffer {
    const taken = this.#buffer.subarray(0, this.#length)
    this.#buffer = empty
    this.#length = 0
    return taken
  }
}

/**
 * Cuts a stream of bytes into messages. A message that comes in one piece is given without being copied. The start of any other
 * message is held in up to twice its room. A length that is only claimed takes no memory.
 */
export class FrameReader {
  readonly #onMessage: (message: Buffer) => void
  readonly #onPartsWait: () => void
  /** The start of a message that is not whole yet. */
  #held: Buffer = empty
  #length = 0

  /** @param onMessage is given memory that is valid until it returns */
  constructor(onMessage: (message: Buffer) => void, onPartsWait: () => void) {
    this.#onMessage = onMessage
    this.#onPartsWait = onPartsWait
  }

  /** @throws {Error} where a message is longer than {@link MAX_MESSAGE_BYTES}; and whatever `onMessage` throws */
  push(bytes: Buffer): void {
    if (this.#length === 0) {
      const used = this.#read(bytes)
      if (used < bytes.length) this.#hold(bytes.subarray(used))
      return
    }
    this.#hold(bytes)
    const held = this.#held.subarray(0, this.#length)
    const used = this.#read(held)
    if (used === 0) return
    this.#held = empty
    this.#length = 0
    if (used < held.length) this.#hold(held.subarray(used))
  }

  /** Gives the messages that are whole. @returns how many bytes they have */
  #read(bytes: Buffer): number {
    let at = 0
    while (at + lengthBytes <= bytes.length) {
      const length = bytes.readUInt32BE(at)
      if (length === PARTS_WAIT) {
        this.#onPartsWait()
        at += lengthBytes
        continue
      }
      if (length > MAX_MESSAGE_BYTES) {
        throw new Error(`a message of ${length} bytes; at most ${MAX_MESSAGE_BYTES} are allowed`)
      }
      const end = at + lengthBytes + length
      if (end > bytes.length) break
      this.#onMessage(bytes.subarray(at + lengthBytes, end))
      at = end
    }
    return at
  }

  #hold(bytes: Buffer): void {
    const length = this.#length + bytes.length
    if (length > this.#held.length) {
      const larger = Buffer.allocUnsafe(Math.max(2 * this.#length, length))
      larger.set(this.#held.subarray(0, this.#length))
      this.#held = larger
    }
    this.#held.set(bytes, this.#length)
    this.#length = length
  }
}
