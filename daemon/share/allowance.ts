/** What a peer may make this node do: it grows with time and with useful work, and is spent. */
export class Allowance {
  readonly #most: number
  readonly #perSecond: number
  #left: number
  #at = performance.now()

  /** @param most what can be spent at once */
  constructor(most: number, perSecond: number) {
    this.#most = most
    this.#perSecond = perSecond
    this.#left = most
  }

  earn(amount: number): void {
    this.#left = Math.min(this.#most, this.#left + amount)
  }

  /** @returns whether that much was left */
  spend(amount: number): boolean {
    const now = performance.now()
    this.earn(((now - this.#at) / 1000) * this.#perSecond)
    this.#at = now
    this.#left -= amount
    return this.#left >= 0
  }
}
