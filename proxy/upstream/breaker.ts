/**
 * Remembers that a registry could not be reached, so that being offline is not waiting for time-outs: for some time
 * requests are refused at once, then one may try, and the others follow it.
 */
export class Breaker {
  readonly #offlineFor: number
  readonly #now: () => number
  #openUntil: number | undefined
  #probing = false
  #answeredAt = Number.NEGATIVE_INFINITY

  /** @param offlineFor ms */
  constructor(offlineFor: number, now: () => number) {
    this.#offlineFor = offlineFor
    this.#now = now
  }

  /** Asks to send a request: `probe` means a single attempt and a call of {@link endProbe} when it is over. */
  admit(): 'pass' | 'probe' | 'refused' {
    if (this.#openUntil === undefined) return 'pass'
    if (this.#probing || this.#now() < this.#openUntil) return 'refused'
    this.#probing = true
    return 'probe'
  }

  endProbe(): void {
    this.#probing = false
  }

  /** Any response, of whatever status. */
  answered(): void {
    this.#answeredAt = this.#now()
    this.#openUntil = undefined
  }

  /**
   * A request got no answer. One that hung while others were answered says nothing of the registry.
   * @param began when it was first tried, in ms
   */
  failed(began: number): void {
    if (this.#answeredAt < began) this.#openUntil = this.#now() + this.#offlineFor
  }
}
