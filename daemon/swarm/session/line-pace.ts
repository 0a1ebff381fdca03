import { CHUNK_LIMIT_MS, FIRST_CHUNK_LIMIT_MS, FORGOTTEN_MS, PACE_HALF_LIFE_MS, PACE_WEIGHT } from './constants.ts'

/** How fast a node's line is, seen from all blobs that it fetches: what is late on one line is as fast as can be on another. */
export class LinePace {
  #chunkMs = 0
  #at = 0
  #bytes = 0

  /** Bytes that came so far. */
  get bytes(): number {
    return this.#bytes
  }

  /** What a chunk takes from the request on, in ms, smoothed; 0 before the first one, and forgotten where none comes. */
  chunkMs(now: number): number {
    return this.#chunkMs * 0.5 ** ((now - this.#at) / PACE_HALF_LIFE_MS)
  }

  /** Bytes came, from anywhere. */
  received(bytes: number): void {
    this.#bytes += bytes
  }

  /** A peer has sent a whole chunk in `ms`; what the last one of a blob takes, which is shorter, tells nothing. */
  arrived(ms: number, now: number): void {
    const before = this.chunkMs(now)
    this.#at = now
    if (before < FORGOTTEN_MS) this.#chunkMs = Math.min(ms, FIRST_CHUNK_LIMIT_MS)
    else this.#chunkMs = before + (Math.min(ms, CHUNK_LIMIT_MS) - before) * PACE_WEIGHT
  }
}
