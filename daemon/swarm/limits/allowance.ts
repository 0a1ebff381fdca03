/** What somebody may make this node do: it grows with time and with useful work, and is spent (a token bucket). */
export class Allowance {
  readonly #most: number
  readonly #perSecond: number
  readonly #now: () => number
  #left: number
  #at: number

  /** @param most what can be spent at once @param now in ms, for tests */
  constructor(most: number, perSecond: number, now: () => number = () => performance.now()) {
    this.#most = most
    this.#perSecond = perSecond
    this.#now = now
    this.#left = most
    this.#at = now()
  }

  /** What can be spent now; below zero where more was spent. */
  get left(): number {
    const now = this.#now()
    this.#left = Math.min(this.#most, this.#left + ((now - this.#at) / 1000) * this.#perSecond)
    this.#at = now
    return this.#left
  }

  earn(amount: number): void {
    this.#left = Math.min(this.#most, this.left + amount)
  }

  /** @returns whether that much was left */
  spend(amount: number): boolean {
    this.#left = this.left - amount
    return this.#left >= 0
  }
}

interface AllowancesOptions {
  /** What each can spend at once. */
  readonly most: number
  readonly perSecond: number
  /** Allowances that are remembered; the one used longest ago is forgotten first, and begins anew. */
  readonly remembered: number
  readonly now?: (() => number) | undefined
}

/** An allowance for each peer or network. It outlives connections: whoever comes back goes on with what is left. */
export class Allowances {
  readonly #options: AllowancesOptions
  readonly #all = new Map<string, Allowance>()

  constructor(options: AllowancesOptions) {
    this.#options = options
  }

  /** All begin anew. */
  clear(): void {
    this.#all.clear()
  }

  of(owner: string): Allowance {
    const { most, perSecond, remembered, now } = this.#options
    const allowance = this.#all.get(owner) ?? new Allowance(most, perSecond, now)
    this.#all.delete(owner)
    this.#all.set(owner, allowance)
    const [oldest] = this.#all.keys()
    if (this.#all.size > remembered && oldest !== undefined) this.#all.delete(oldest)
    return allowance
  }
}
