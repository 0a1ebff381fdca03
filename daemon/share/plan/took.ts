import type { Numbers } from './numbers.ts'

/** How long chunks take here, and from when on one is late: TCP's rule for its retransmission timer (RFC 6298). */
export class Took {
  readonly #numbers: Numbers
  #mean: number | undefined
  #deviation = 0

  constructor(numbers: Numbers) {
    this.#numbers = numbers
  }

  /** In ms; 0 before the first one. */
  get mean(): number {
    return this.#mean ?? 0
  }

  /** A chunk that takes longer than this, in ms, is late. */
  get limit(): number {
    const { lateMs, lateDeviations } = this.#numbers
    return Math.max(lateMs, this.mean + lateDeviations * this.#deviation)
  }

  /** A chunk took this long, in ms. */
  add(ms: number): void {
    const { meanWeight, deviationWeight } = this.#numbers
    if (this.#mean === undefined) {
      this.#mean = ms
      this.#deviation = ms / 2
      return
    }
    this.#deviation += (Math.abs(ms - this.#mean) - this.#deviation) * deviationWeight
    this.#mean += (ms - this.#mean) * meanWeight
  }
}
