/** Which parts of a blob, quarters or chunks, are held: one bit for each, the first in the highest bit of the first byte (BEP 3). */
export class Bitfield {
  readonly length: number
  readonly #bytes: Uint8Array
  #count = 0

  /** @param length number of parts */
  constructor(length: number) {
    this.length = length
    this.#bytes = new Uint8Array(Math.ceil(length / 8))
  }

  /** Reads what `encode` gave. @throws {RangeError} where bytes and length don't match, or spare bits are set */
  static decode(bytes: Uint8Array, length: number): Bitfield {
    const field = new Bitfield(length)
    if (bytes.length !== field.#bytes.length) {
      throw new RangeError(`a bitfield of ${length} parts has ${field.#bytes.length} bytes, not ${bytes.length}`)
    }
    field.#bytes.set(bytes)
    for (let index = 0; index < bytes.length * 8; index++) {
      if (!field.#bit(index)) continue
      if (index >= length) throw new RangeError(`a bitfield of ${length} parts has part ${index}`)
      field.#count++
    }
    return field
  }

  static full(length: number): Bitfield {
    const field = new Bitfield(length)
    for (let index = 0; index < length; index++) field.set(index)
    return field
  }

  /** How many parts are held. */
  get count(): number {
    return this.#count
  }

  get isFull(): boolean {
    return this.#count === this.length
  }

  has(index: number): boolean {
    return index >= 0 && index < this.length && this.#bit(index)
  }

  /** @returns whether it was not set before */
  set(index: number): boolean {
    if (index < 0 || index >= this.length) throw new RangeError(`part ${index} of ${this.length}`)
    if (this.#bit(index)) return false
    this.#bytes[index >> 3] = this.#byte(index) | (0x80 >> (index & 7))
    this.#count++
    return true
  }

  /** @returns whether it was set before */
  clear(index: number): boolean {
    if (!this.has(index)) return false
    this.#bytes[index >> 3] = this.#byte(index) & ~(0x80 >> (index & 7))
    this.#count--
    return true
  }

  clearAll(): void {
    this.#bytes.fill(0)
    this.#count = 0
  }

  /** The first part from `from` on that is not held; `length` where there is none. */
  firstMissing(from = 0): number {
    let index = from
    while (index < this.length && this.#bit(index)) index += (index & 7) === 0 && this.#byte(index) === 0xff ? 8 : 1
    return Math.min(index, this.length)
  }

  /** Whether a part from `from` on and before `to` is in both; both have the same length. */
  meets(other: Bitfield, from: number, to: number): boolean {
    const last = (Math.min(to, this.length) - 1) >> 3
    for (let offset = from >> 3; offset <= last; offset++) {
      let both = (this.#bytes[offset] ?? 0) & (other.#bytes[offset] ?? 0)
      if (both === 0) continue
      if (offset === from >> 3) both &= 0xff >> (from & 7)
      if (offset === last) both &= 0xff << (7 - ((Math.min(to, this.length) - 1) & 7))
      if ((both & 0xff) !== 0) return true
    }
    return false
  }

  /** The first part from `from` on that is held here and in none of the others; all have the same length. */
  firstBeyond(others: readonly Bitfield[], from: number): number | undefined {
    for (let offset = from >> 3; offset < this.#bytes.length; offset++) {
      let left = this.#bytes[offset] ?? 0
      if (offset === from >> 3) left &= 0xff >> (from & 7)
      for (const other of others) {
        if (left === 0) break
        left &= ~(other.#bytes[offset] ?? 0)
      }
      if (left !== 0) return offset * 8 + Math.clz32(left) - 24
    }
    return undefined
  }

  /** Parts that are held, in order. */
  *indexes(): Generator<number, void> {
    for (let index = 0; index < this.length; index++) {
      if (this.#bit(index)) yield index
      else if ((index & 7) === 0 && this.#byte(index) === 0) index += 7
    }
  }

  /** The byte that has a part's bit, and where it is in what `encode` gives. */
  byteOf(index: number): { readonly offset: number; readonly value: number } {
    return { offset: index >> 3, value: this.#byte(index) }
  }

  encode(): Uint8Array {
    return this.#bytes.slice()
  }

  #bit(index: number): boolean {
    return (this.#byte(index) & (0x80 >> (index & 7))) !== 0
  }

  #byte(index: number): number {
    return this.#bytes[index >> 3] ?? 0
  }
}
