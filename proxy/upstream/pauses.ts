/** A registry's wish to be left alone is kept for this long at most, in ms: it may be more than it needs. */
const longestPause = 60_000

/** Wishes that are kept; the oldest are forgotten. */
const maxPauses = 1_000

/** Remembers who asked us to come back later (`Retry-After`), so that not every client's request asks again. */
export class Pauses {
  readonly #now: () => number
  readonly #until = new Map<string, number>()

  constructor(now: () => number) {
    this.#now = now
  }

  /** ms until a key may be used again; 0 where it may. */
  left(key: string): number {
    const until = this.#until.get(key)
    if (until === undefined) return 0
    const left = until - this.#now()
    if (left <= 0) this.#until.delete(key)
    return Math.max(0, left)
  }

  /** @param ms from now on */
  begin(key: string, ms: number): void {
    this.#until.delete(key)
    this.#until.set(key, this.#now() + Math.min(ms, longestPause))
    const [oldest] = this.#until.keys()
    if (this.#until.size > maxPauses && oldest !== undefined) this.#until.delete(oldest)
  }
}
