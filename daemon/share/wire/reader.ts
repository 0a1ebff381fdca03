import { MAX_LOG_ENTRIES_PER_FRAME } from './limits.ts'

/** A peer sent a message that is malformed, or goes beyond a bound. */
export class WireError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'WireError'
  }
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** A varint has at most this many bytes: 56 bits are more than any number has. */
const MAX_VARINT_BYTES = 8

/** Reads a frame from its start to its end. */
export class Reader {
  readonly #bytes: Buffer
  #at = 0
  #expandable = MAX_LOG_ENTRIES_PER_FRAME

  constructor(bytes: Uint8Array) {
    this.#bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  }

  get isAtEnd(): boolean {
    return this.#at === this.#bytes.length
  }

  /** @throws {WireError} at the end of the frame; as all methods do */
  byte(): number {
    const byte = this.#bytes[this.#at]
    if (byte === undefined) throw endsEarly()
    this.#at++
    return byte
  }

  /**
   * An unsigned number (LEB128).
   * @param max up to 2^53 - 1
   * @throws {WireError} for larger ones
   */
  varint(max: number, what: string): number {
    let byte = this.byte()
    let value = byte & 0x7f
    let factor = 1
    for (let length = 1; byte >= 0x80; length++) {
      if (length === MAX_VARINT_BYTES) throw new WireError(`the ${what} is no number: it has too many bytes`)
      byte = this.byte()
      factor *= 0x80
      value += (byte & 0x7f) * factor
    }
    if (value > max) throw new WireError(`the ${what} is ${value}, and may be ${max} at most`)
    return value
  }

  /** Part of the frame's memory. */
  view(length: number): Buffer {
    const end = this.#at + length
    if (end > this.#bytes.length) throw endsEarly()
    const view = this.#bytes.subarray(this.#at, end)
    this.#at = end
    return view
  }

  /** Counts entries of logs, of which a few bytes stand for many, against the bound of the frame. */
  expand(entries: number): void {
    this.#expandable -= entries
    if (this.#expandable < 0) throw new WireError(`a frame tells of more than ${MAX_LOG_ENTRIES_PER_FRAME} chunks`)
  }

  /** UTF-8, after its length. @param max bytes */
  text(max: number, what: string): string {
    const bytes = this.view(this.varint(max, `length of the ${what}`))
    try {
      return utf8.decode(bytes)
    } catch (cause) {
      throw new WireError(`the ${what} is not UTF-8`, { cause })
    }
  }

  /** Printable ASCII, after its length. @param max characters */
  ascii(max: number, what: string): string {
    const bytes = this.view(this.varint(max, `length of the ${what}`))
    for (const byte of bytes) if (byte < 0x20 || byte > 0x7e) throw new WireError(`the ${what} is not printable ASCII`)
    return bytes.toString('latin1')
  }
}

function endsEarly(): WireError {
  return new WireError('the frame ends within a message')
}
