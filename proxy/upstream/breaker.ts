import { Pulse } from './pulse.ts'

/**
 * How long a registry that lets a request wait counts as one that hangs, in ms, unless it answers another one; and for as long as not
 * even the root of its API answers.
 */
const silenceLasts = 30_000

/**
 * Remembers that a registry could not be reached, so that being offline is not waiting for time-outs: for some time
 * requests are refused at once, then one may try, and the others follow it.
 *
 * A registry that accepts connections is not away, however long it lets one request wait: it is asked for whatever nobody
 * else has. That it answers nothing is remembered for those who have another answer at hand; and where not even the root of its API
 * answers, nobody waits for a time-out again.
 */
export class Breaker {
  readonly #offlineFor: number
  readonly #now: () => number
  #openUntil: number | undefined
  #probing = false
  #silentUntil = Number.NEGATIVE_INFINITY
  #answeredAt = Number.NEGATIVE_INFINITY
  readonly pulse: Pulse

  /** @param offlineFor ms */
  constructor(offlineFor: number, now: () => number) {
    this.#offlineFor = offlineFor
    this.#now = now
    this.pulse = new Pulse(now)
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
    this.#silentUntil = Number.NEGATIVE_INFINITY
    this.pulse.felt()
  }

  /**
   * A request could not be sent, or was cut off. One that failed while others were answered says nothing of the registry.
   * @param began when it was first tried, in ms
   */
  failed(began: number): void {
    if (this.#answeredAt < began) this.#openUntil = this.#now() + this.#offlineFor
  }

  /**
   * A request got no answer in its time.
   * @param began when it was first tried, in ms
   * @param hasTaken whether the registry has taken the request, so that it is there
   */
  hung(began: number, hasTaken: boolean): void {
    if (hasTaken) this.#openUntil = undefined
    // Those who wait less for it now don't make it more silent.
    if (this.#answeredAt < began && !this.isSilent) this.#silentUntil = this.#now() + silenceLasts
  }

  /** Whether the registry takes requests and answers none. */
  get isSilent(): boolean {
    const hasHung = this.#silentUntil !== Number.NEGATIVE_INFINITY
    return hasHung && (this.#now() < this.#silentUntil || this.pulse.hasStopped)
  }

  /** Whether it is silent, and not even the root of its API answers. */
  get isDumb(): boolean {
    return this.isSilent && this.pulse.hasStopped
  }
}
