/** Memory that is kept for the next frame, in bytes: almost all frames are far smaller, and those with long lists are rare. */
const KEPT_BYTES = 64 * 1024

/** A varint of 2^53 - 1 has 8 bytes. */
const MAX_VARINT_BYTES = 8

/** Writes one frame after the other into memory that grows. */
export class Writer {
  #bytes = Buffer.allocUnsafeSlow(KEPT_BYTES)
  #at = 0

  /** Begins a frame, and drops one that was not finished. */
  begin(): void {
    this.#at = 0
  }

  /** Bytes of the frame. */
  get length(): number {
    return this.#at
  }

  /** The first bytes as a frame, in memory of its own; those behind them begin the next one. */
  cut(length: number): Uint8Array {
    const frame = Buffer.from(this.#bytes.subarray(0, length))
    this.#bytes.copyWithin(0, length, this.#at)
    this.#at -= length
    return frame
  }

  /** The frame, in memory of its own. */
  finish(): Uint8Array {
    const frame = this.#bytes.subarray(0, this.#at)
    if (this.#bytes.length === KEPT_BYTES) return Buffer.from(frame)
    this.#bytes = Buffer.allocUnsafeSlow(KEPT_BYTES)
    return frame
  }

  byte(value: number): void {
    this.#reserve(1)
    this.#bytes[this.#at++] = value
  }

  /**
   * An unsigned number (LEB128).
   * @throws {RangeError} for anything but an integer from 0 to 2^53 - 1
   */
  varint(value: number): void {
    if (!Number.isSafeInteger(value) || value < 0) throw new RangeError(`${value} can't be told to a peer`)
    this.#reserve(MAX_VARINT_BYTES)
    let rest = value
    while (rest >= 0x80) {
      this.#bytes[this.#at++] = (rest % 0x80) | 0x80
      rest = Math.floor(rest / 0x80)
    }
    this.#bytes[this.#at++] = rest
  }

  bytes(bytes: Uint8Array): void {
    this.#reserve(bytes.length)
    this.#bytes.set(bytes, this.#at)
    this.#at += bytes.length
  }

  hex(digits: string): void {
    this.#reserve(digits.length / 2)
    this.#at += this.#bytes.write(digits, this.#at, 'hex')
  }

  /** UTF-8, after its length. */
  text(text: string): void {
    const length = Buffer.byteLength(text)
    this.varint(length)
    this.#reserve(length)
    this.#at += this.#bytes.write(text, this.#at, 'utf8')
  }

  #reserve(count: number): void {
    const needed = this.#at + count
    if (needed <= this.#bytes.length) return
    const larger = Buffer.allocUnsafeSlow(Math.max(needed, 2 * this.#bytes.length))
    this.#bytes.copy(larger, 0, 0, this.#at)
    this.#bytes = larger
  }
}
