/** Bytes a second that a body must bring at least. GPRS brings five times as much; whoever sends less ties up a place for nothing. */
const minRate = 1024

/** How long a sender is waited for before its rate is judged, in ms: lines stop for seconds. */
const minWindow = 30_000

/** Whether a body comes too slowly to be waited for: by what came while its reader did nothing but wait. */
export class Pace {
  readonly #window: number
  #waited = 0
  #came = 0

  /** @param silence how long the sender may say nothing at all, in ms */
  constructor(silence: number) {
    // A silence that is allowed must not count as slowness when it ends.
    this.#window = Math.max(minWindow, 2 * silence)
  }

  /**
   * So many bytes have come after so many ms of waiting.
   * @returns whether that is too slow
   */
  isTooSlow(bytes: number, ms: number): boolean {
    this.#came += bytes
    this.#waited += ms
    if (this.#waited < this.#window) return false
    const isSlow = this.#came < (this.#waited / 1000) * minRate
    this.#waited = 0
    this.#came = 0
    return isSlow
  }
}
