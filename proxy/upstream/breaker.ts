import type { Comeback } from './comeback.ts'

/** How long a registry that lets a request wait counts as one that hangs, in ms, unless it answers another one. */
const silenceLasts = 30_000

/**
 * Remembers that a registry could not be reached, so that being offline is not waiting for time-outs: requests are refused at once until
 * it has answered, for which it is asked in the background.
 *
 * A registry that accepts connections is not away, however long it lets one request wait: it is asked for whatever nobody
 * else has. That it answers nothing at all is remembered for those who have another answer at hand.
 */
export class Breaker {
  readonly #now: () => number
  readonly #comeback: Pick<Comeback, 'begin' | 'wanted' | 'end'>
  #isAway = false
  #silentUntil = Number.NEGATIVE_INFINITY
  #answeredAt = Number.NEGATIVE_INFINITY

  /** @param comeback asks the registry while it is away */
  constructor(now: () => number, comeback: Pick<Comeback, 'begin' | 'wanted' | 'end'>) {
    this.#now = now
    this.#comeback = comeback
  }

  /** Whether a request may be sent. */
  admit(): boolean {
    if (this.#isAway) this.#comeback.wanted()
    return !this.#isAway
  }

  /** Any response, of whatever status. */
  answered(): void {
    this.#answeredAt = this.#now()
    this.#silentUntil = Number.NEGATIVE_INFINITY
    this.#isBack()
  }

  /**
   * A request could not be sent, or was cut off. One that failed while others were answered says nothing of the registry.
   * @param began when it was first tried, in ms
   * @returns whether the registry counts as away from now on, and has not before
   */
  failed(began: number): boolean {
    if (this.#answeredAt >= began || this.#isAway) return false
    this.#isAway = true
    this.#comeback.begin()
    return true
  }

  /**
   * A request got no answer in its time.
   * @param began when it was first tried, in ms
   * @param hasTaken whether the registry has taken the request, so that it is there
   */
  hung(began: number, hasTaken: boolean): void {
    if (hasTaken) this.#isBack()
    // Those who wait less for it now don't make it more silent.
    if (this.#answeredAt < began && !this.isSilent) this.#silentUntil = this.#now() + silenceLasts
  }

  #isBack(): void {
    this.#isAway = false
    this.#comeback.end()
  }

  /** Whether the registry takes requests and answers none. */
  get isSilent(): boolean {
    return this.#now() < this.#silentUntil
  }
}
