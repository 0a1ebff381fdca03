interface Kept<V> {
  readonly value: V
  readonly until: number
}

/** Remembers values by key for some time: at most so many, of which the oldest are forgotten first. */
export class Recent<V = true> {
  readonly #lifetime: number
  readonly #limit: number
  readonly #now: () => number
  readonly #kept = new Map<string, Kept<V>>()

  /** @param lifetime ms */
  constructor(lifetime: number, limit: number, now: () => number) {
    this.#lifetime = lifetime
    this.#limit = limit
    this.#now = now
  }

  has(key: string): boolean {
    return this.get(key) !== undefined
  }

  get(key: string): V | undefined {
    const kept = this.#kept.get(key)
    return kept !== undefined && kept.until > this.#now() ? kept.value : undefined
  }

  set(key: string, value: V): void {
    this.#kept.delete(key)
    this.#kept.set(key, { value, until: this.#now() + this.#lifetime })
    const [oldest] = this.#kept.keys()
    if (this.#kept.size > this.#limit && oldest !== undefined) this.#kept.delete(oldest)
  }
}
