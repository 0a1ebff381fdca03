import { GAUGE_BYTES, GAUGE_MS, MAX_UPLOADS, MIN_UPLOADS, PEAK_HALF_LIFE_MS, USED_PART } from './constants.ts'

/**
 * How many chunks this node should send at the same time, of all blobs: few, so that each is there soon and can be passed on;
 * and more only where receivers are what is slow, which shows in less being sent than was sent lately.
 */
export class UploadGauge {
  #at = 0
  #total = 0
  #peak = 0
  #target = MIN_UPLOADS

  /**
   * @param sending chunks being sent
   * @param total bytes sent since the node started
   * @returns chunks that may be sent in addition; less than 0 where there are too many
   */
  room(sending: number, total: number, now: number): number {
    // Only times throughout which something was sent tell how much can be sent.
    if (sending === 0) this.#look(total, now)
    const ms = now - this.#at
    const bytes = total - this.#total
    // Chunks are counted whole, so that only many of them make a rate; few in twice the time they need are told apart, too.
    if (ms >= GAUGE_MS && (bytes >= GAUGE_BYTES || ms * this.#peak >= 2 * GAUGE_BYTES)) {
      const rate = bytes / ms
      this.#peak = Math.max(this.#peak * 0.5 ** (ms / PEAK_HALF_LIFE_MS), rate)
      if (rate >= this.#peak * USED_PART) this.#target = Math.max(this.#target - 1, MIN_UPLOADS)
      else if (sending >= this.#target) this.#target = Math.min(this.#target + 1, MAX_UPLOADS)
      this.#look(total, now)
    }
    return this.#target - sending
  }

  #look(total: number, now: number): void {
    this.#at = now
    this.#total = total
  }
}
