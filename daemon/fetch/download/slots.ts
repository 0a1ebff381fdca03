/** A number of things that may be under way at the same time, whoever starts them. */
export class Slots {
  readonly #limit: number
  readonly #waiting = new Set<() => void>()
  #taken = 0

  constructor(limit: number) {
    this.#limit = limit
  }

  get free(): number {
    return this.#limit - this.#taken
  }

  /** The caller has looked at `free` before. */
  take(): void {
    this.#taken++
  }

  give(): void {
    this.#taken--
    const [next] = this.#waiting
    if (next === undefined) return
    this.#waiting.delete(next)
    next()
  }

  /** Calls back once when something becomes free; whoever came first is called first. */
  whenFree(callback: () => void): void {
    this.#waiting.add(callback)
  }

  /** Takes a callback back. */
  forget(callback: () => void): void {
    this.#waiting.delete(callback)
  }
}
