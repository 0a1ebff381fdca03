/** Work on the same thing, one after the other in the order in which it came. */
export class Turns {
  readonly #last = new Map<string, Promise<unknown>>()

  /** Whether somebody works under this key, or waits. */
  isTaken(key: string): boolean {
    return this.#last.has(key)
  }

  /** Waits for all that came before under this key, then works. What it throws is thrown to its caller alone. */
  async take<T>(key: string, work: () => Promise<T>): Promise<T> {
    const before = this.#last.get(key)
    const mine = (before ?? Promise.resolve()).then(work)
    const settled = mine.catch(() => {})
    this.#last.set(key, settled)
    try {
      return await mine
    } finally {
      if (this.#last.get(key) === settled) this.#last.delete(key)
    }
  }
}
