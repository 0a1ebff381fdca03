import type { Comeback } from './comeback.ts'
import { Pulse } from './pulse.ts'

/**
 * How long a registry that lets a request wait counts as one that hangs, in ms, unless it answers another one; and for as long as not
 * even the root of its API answers.
 */
const silenceLasts = 30_000

type Away = Pick<Comeback, 'isAway' | 'begin' | 'wanted' | 'end'>

/**
 * Remembers that a registry could not be reached, so that being offline is not waiting for time-outs: requests are refused at once until
 * it has answered, for which it is asked in the background.
 *
 * A registry that accepts connections is not away, however long it lets one request wait: it is asked for whatever nobody
 * else has. That it answers nothing is remembered for those who have another answer at hand; and where not even the root of its API
 * answers, nobody waits for a time-out again.
 */
export class Breaker {
  readonly #now: () => number
  readonly #comeback: Away
  #silentUntil = Number.NEGATIVE_INFINITY
  #answeredAt = Number.NEGATIVE_INFINITY
  /** Whether a request has waited to its own time-out since it is silent. */
  #hasWaited = false
  readonly pulse: Pulse

  /** @param comeback asks the registry while it is away */
  constructor(now: () => number, comeback: Away) {
    this.#now = now
    this.#comeback = comeback
    this.pulse = new Pulse(now)
  }

  /** Whether a request may be sent. Where the registry is asked just now whether it is back, its answer is waited for a moment. */
  async admit(signal: AbortSignal): Promise<boolean> {
    if (this.#comeback.isAway) await this.#comeback.wanted(signal)
    return !this.#comeback.isAway
  }

  /** Any response, of whatever status. */
  answered(): void {
    this.#answeredAt = this.#now()
    this.#silentUntil = Number.NEGATIVE_INFINITY
    this.#hasWaited = false
    this.#comeback.end()
    this.pulse.felt()
  }

  /**
   * A request could not be sent, or was cut off. One that failed while others were answered says nothing of the registry.
   * @param began when it was first tried, in ms
   * @returns whether the registry counts as away from now on, and has not before
   */
  failed(began: number): boolean {
    if (this.#answeredAt >= began || this.#comeback.isAway) return false
    this.#comeback.begin()
    return true
  }

  /**
   * A request got no answer in its time.
   * @param began when it was first tried, in ms
   * @param hasTaken whether the registry has taken the request, so that it is there, and has let it wait to its own time-out, rather than
   *   to the end of its caller's patience
   */
  hung(began: number, hasTaken: boolean): void {
    if (hasTaken) this.#comeback.end()
    if (this.#answeredAt >= began) return
    // Those who wait less for it now don't make it more silent.
    if (!this.isSilent) {
      this.#silentUntil = this.#now() + silenceLasts
      this.#hasWaited = false
    }
    this.#hasWaited ||= hasTaken
  }

  /** Whether the registry takes requests and answers none. */
  get isSilent(): boolean {
    const hasHung = this.#silentUntil !== Number.NEGATIVE_INFINITY
    return hasHung && (this.#now() < this.#silentUntil || this.pulse.hasStopped)
  }

  /** Whether it is silent, and not even the root of its API answers. Those who soon lose patience prove less than one who has waited. */
  get isDumb(): boolean {
    return this.isSilent && (this.#hasWaited ? this.pulse.hasStopped : this.pulse.hasStoppedForLong)
  }
}
