import { quarterBytes as chunkBytes } from '../../verify/quarter.ts'
import {
  CHUNK_LIMIT_MS,
  FIRST_CHUNK_LIMIT_MS,
  FORGOTTEN_MS,
  FULL_PART,
  PACE_HALF_LIFE_MS,
  PACE_WEIGHT,
  RATE_WINDOW_MS,
  SHARED_REQUESTS,
} from './constants.ts'

/** So many bytes had come at a time, in ms. */
interface Mark {
  readonly at: number
  readonly bytes: number
}

const START: Mark = { at: Number.NEGATIVE_INFINITY, bytes: 0 }

/** How fast a node's line is, seen from all blobs that it fetches: what is late on one line is as fast as can be on another. */
export class LinePace {
  #chunkMs = 0
  #at = 0
  #bytes = 0
  /** Before the last window, which a rate is measured from; at its beginning; and when something came last. */
  #marks: readonly [Mark, Mark, Mark] = [START, START, START]
  /** The most that came while many requests shared the line, in bytes a ms, and when; it is forgotten as networks change. */
  #best = 0
  #bestAt = 0
  /** Whether that is so for all of what a rate is measured from. */
  #isShared = false

  /** When something came last, from anywhere, in ms of the caller's clock. */
  get receivedAt(): number {
    return this.#marks[2].at
  }

  /** Bytes that came so far. */
  get bytes(): number {
    return this.#bytes
  }

  /** What a chunk takes from the request on, in ms, smoothed; 0 before the first one, and forgotten where none comes. */
  chunkMs(now: number): number {
    return this.#chunkMs * 0.5 ** ((now - this.#at) / PACE_HALF_LIFE_MS)
  }

  /** Bytes came, from anywhere. @param requests that are under way to peers */
  received(bytes: number, now: number, requests: number): void {
    const isShared = requests >= SHARED_REQUESTS
    const before = { at: now, bytes: this.#bytes }
    this.#bytes += bytes
    const after = { at: now, bytes: this.#bytes }
    const [from, window, last] = this.#marks
    if (now - last.at > RATE_WINDOW_MS) {
      this.#marks = [before, before, after]
      this.#isShared = isShared
    } else if (now - window.at > RATE_WINDOW_MS) {
      this.#marks = [window, last, after]
      const rate = this.#rate
      if (this.#isShared && isShared && rate >= this.#bestRate(now)) [this.#best, this.#bestAt] = [rate, now]
      this.#isShared = isShared
    } else this.#marks = [from, window, after]
  }

  /**
   * What a chunk takes, in ms, where so many requests share the line; 0 where that is not known: nothing came lately, or few are under
   * way and less comes than many have had, so that it may be their senders who are slow.
   */
  shareMs(requests: number, now: number): number {
    const isSilent = now - this.#marks[2].at > RATE_WINDOW_MS
    const best = this.#bestRate(now)
    const rate = Math.max(this.#rate, best)
    const isLine = requests >= SHARED_REQUESTS || (best > 0 && this.#rate >= best * FULL_PART)
    return !isLine || isSilent || rate === 0 ? 0 : (requests * chunkBytes) / rate
  }

  get #rate(): number {
    const [from, , last] = this.#marks
    return last.at > from.at ? (last.bytes - from.bytes) / (last.at - from.at) : 0
  }

  #bestRate(now: number): number {
    return this.#best * 0.5 ** ((now - this.#bestAt) / PACE_HALF_LIFE_MS)
  }

  /** A peer has sent a whole chunk in `ms`; what the last one of a blob takes, which is shorter, tells nothing. */
  arrived(ms: number, now: number): void {
    const before = this.chunkMs(now)
    this.#at = now
    if (before < FORGOTTEN_MS) this.#chunkMs = Math.min(ms, FIRST_CHUNK_LIMIT_MS)
    else this.#chunkMs = before + (Math.min(ms, CHUNK_LIMIT_MS) - before) * PACE_WEIGHT
  }
}
