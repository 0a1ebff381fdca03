/** What has to hold, and does not: for how long, and what was seen. */
export interface Breach {
  readonly key: string
  /** Seconds. */
  readonly since: number
  readonly seen: string
}

/**
 * States that may be missing for a time, as while a fault lasts and some time afterwards, and have to be there then. Each is told again
 * and again; one that is missing for longer than its limit is given out once, until it has been there again.
 */
export class Overdue {
  readonly #missing = new Map<string, { readonly since: number; isTold: boolean }>()

  /**
   * @param seen what is there in place of the state; undefined where the state holds, or nobody has to expect it
   * @param limit ms
   * @param now ms
   */
  told(key: string, seen: string | undefined, limit: number, now: number): Breach | undefined {
    if (seen === undefined) {
      this.#missing.delete(key)
      return undefined
    }
    const missing = this.#missing.get(key) ?? { since: now, isTold: false }
    this.#missing.set(key, missing)
    if (missing.isTold || now - missing.since <= limit) return undefined
    missing.isTold = true
    return { key, since: (now - missing.since) / 1000, seen }
  }
}
