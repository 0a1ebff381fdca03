/** Memory of one length that is used again. */
export class Buffers {
  readonly #bytes: number
  readonly #maxSpare: number
  readonly #spare: Buffer[] = []

  /**
   * @param bytes length of each
   * @param maxSpare as many are kept; what is given back beyond that is left to the garbage collector
   */
  constructor(bytes: number, maxSpare: number) {
    this.#bytes = bytes
    this.#maxSpare = maxSpare
  }

  /** With whatever is in it. */
  take(): Buffer {
    return this.#spare.pop() ?? Buffer.allocUnsafeSlow(this.#bytes)
  }

  giveBack(buffer: Buffer): void {
    if (this.#spare.length < this.#maxSpare) this.#spare.push(buffer)
  }
}
