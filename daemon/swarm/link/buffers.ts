/** Buffers of one length, kept to be used again. */
export class Buffers {
  readonly #bytes: number
  readonly #maxSpare: number
  readonly #spare: Buffer[] = []

  /**
   * @param bytes length of each
   * @param maxSpare most that are kept; those given back beyond that are left to the garbage collector
   */
  constructor(bytes: number, maxSpare: number) {
    this.#bytes = bytes
    this.#maxSpare = maxSpare
  }

  /** A buffer, with whatever is in it. */
  take(): Buffer {
    return this.#spare.pop() ?? Buffer.allocUnsafeSlow(this.#bytes)
  }

  giveBack(buffer: Buffer): void {
    if (this.#spare.length < this.#maxSpare) this.#spare.push(buffer)
  }
}
