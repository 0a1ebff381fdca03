/** Remembers keys for some time: at most so many, of which the oldest are forgotten first. */
export class Recent {
  readonly #lifetime: number
  readonly #limit: number
  readonly #now: () => number
  readonly #until = new Map<string, number>()

  /** @param lifetime ms */
  constructor(lifetime: number, limit: number, now: () => number) {
    this.#lifetime = lifetime
    this.#limit = limit
    this.#now = now
  }

  has(key: string): boolean {
    return (this.#until.get(key) ?? Number.NEGATIVE_INFINITY) > this.#now()
  }

  add(key: string): void {
    this.#until.delete(key)
    this.#until.set(key, this.#now() + this.#lifetime)
    const [oldest] = this.#until.keys()
    if (this.#until.size > this.#limit && oldest !== undefined) this.#until.delete(oldest)
  }
}
