import { chunkBytes } from '../../verify/chunk.ts'
import {
  CHUNK_LIMIT_MS,
  FIRST_CHUNK_LIMIT_MS,
  FORGOTTEN_MS,
  PACE_HALF_LIFE_MS,
  PACE_WEIGHT,
  RATE_WINDOW_MS,
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
    else if (now - window.at > RATE_WINDOW_MS) this.#marks = [window, last, after]
    else this.#marks = [from, window, after]
  }

  /**
   * What a chunk takes, in ms, where so many requests share what comes at present; 0 where nothing came lately, so that it is not
   * known.
   */
  shareMs(requests: number, now: number): number {
    const [from, , last] = this.#marks
    if (now - last.at > RATE_WINDOW_MS || last.bytes === from.bytes) return 0
    return (requests * chunkBytes * (now - from.at)) / (last.bytes - from.bytes)
  }

  /** A peer has sent a whole chunk in `ms`; what the last one of a blob takes, which is shorter, tells nothing. */
  arrived(ms: number, now: number): void {
    const before = this.chunkMs(now)
    this.#at = now
    if (before < FORGOTTEN_MS) this.#chunkMs = Math.min(ms, FIRST_CHUNK_LIMIT_MS)
    else this.#chunkMs = before + (Math.min(ms, CHUNK_LIMIT_MS) - before) * PACE_WEIGHT
  }
}
