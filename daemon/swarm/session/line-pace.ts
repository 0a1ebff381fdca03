import { chunkBytes } from '../../verify/chunk.ts'
import {
  CHUNK_LIMIT_MS,
  FIRST_CHUNK_LIMIT_MS,
  FORGOTTEN_MS,
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
  /** The most that came, in bytes a ms, and when; it is forgotten as networks change. */
  #best = 0
  #bestAt = 0

  /** Bytes that came so far. */
  get bytes(): number {
    return this.#bytes
  }

  /** What a chunk takes from the request on, in ms, smoothed; 0 before the first one, and forgotten where none comes. */
  chunkMs(now: number): number {
    return this.#chunkMs * 0.5 ** ((now - this.#at) / PACE_HALF_LIFE_MS)
  }

  /** Bytes came, from anywhere. */
  received(bytes: number, now: number): void {
    const before = { at: now, bytes: this.#bytes }
    this.#bytes += bytes
    const after = { at: now, bytes: this.#bytes }
    const [from, window, last] = this.#marks
    if (now - last.at > RATE_WINDOW_MS) this.#marks = [before, before, after]
    else if (now - window.at > RATE_WINDOW_MS) {
      this.#marks = [window, last, after]
      const rate = this.#rate
      if (rate >= this.#bestRate(now)) [this.#best, this.#bestAt] = [rate, now]
    } else this.#marks = [from, window, after]
  }

  /**
   * What a chunk takes, in ms, where so many requests share the line; 0 where that is not known, as nothing came lately, or few are
   * under way, so that it is their senders who are slow.
   */
  shareMs(requests: number, now: number): number {
    const isSilent = now - this.#marks[2].at > RATE_WINDOW_MS
    const rate = Math.max(this.#rate, this.#bestRate(now))
    return requests < SHARED_REQUESTS || isSilent || rate === 0 ? 0 : (requests * chunkBytes) / rate
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
