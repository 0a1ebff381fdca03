/** When each of some things is to be looked at, and which one comes first. */
export class Deadlines<T> {
  readonly #due = new Map<T, number>()
  /** The one that is due first; undefined where that is not known. */
  #next: T | undefined

  /** When the first one is due, in ms; infinite where there is none. */
  get first(): number {
    if (this.#next === undefined)
      for (const [item, at] of this.#due) if (this.#next === undefined || at < this.#at(this.#next)) this.#next = item
    return this.#next === undefined ? Number.POSITIVE_INFINITY : this.#at(this.#next)
  }

  /** @param at ms, in place of what was set before; infinite for never */
  set(item: T, at: number): void {
    const isSooner = this.#next !== undefined && at < this.#at(this.#next)
    if (at === Number.POSITIVE_INFINITY) this.#due.delete(item)
    else this.#due.set(item, at)
    if (isSooner) this.#next = item
    else if (this.#next === item) this.#next = undefined
  }

  /** Those that are due. */
  ripe(now: number): T[] {
    return [...this.#due].flatMap(([item, at]) => (now >= at ? [item] : []))
  }

  #at(item: T): number {
    return this.#due.get(item) ?? 0
  }
}
