/** Lets so many in at the same time, in the order in which they came. */
export class Gate {
  readonly #places: number
  readonly #waiting = new Set<() => void>()
  #inside = 0

  constructor(places: number) {
    this.#places = places
  }

  /** Whether somebody waits. */
  get isFull(): boolean {
    return this.#waiting.size > 0
  }

  /**
   * Waits for a place.
   * @returns gives the place back; calls after the first do nothing
   * @throws the signal's reason
   */
  async enter(signal: AbortSignal): Promise<() => void> {
    signal.throwIfAborted()
    if (this.#inside >= this.#places) await this.#wait(signal)
    else this.#inside++
    let isInside = true
    return () => {
      if (!isInside) return
      isInside = false
      this.#leave()
    }
  }

  /** A place is handed over, so that nobody who comes later takes it first. */
  #leave(): void {
    const [next] = this.#waiting
    if (next === undefined) this.#inside--
    else next()
  }

  async #wait(signal: AbortSignal): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    const take = (): void => {
      this.#waiting.delete(take)
      resolve()
    }
    const giveUp = (): void => {
      // At once: a place that is handed to nobody would be lost.
      this.#waiting.delete(take)
      reject(signal.reason)
    }
    this.#waiting.add(take)
    signal.addEventListener('abort', giveUp, { once: true })
    try {
      await promise
    } finally {
      signal.removeEventListener('abort', giveUp)
    }
  }
}
