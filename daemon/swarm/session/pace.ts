import { CHUNK_LIMIT_MS, PACE_WEIGHT } from './constants.ts'

/** How fast a node's line is, seen from all blobs that it fetches: what is late on one line is as fast as can be on another. */
export class Pace {
  #chunkMs = 0
  #bytes = 0

  /** What a chunk takes from the request on, in ms, smoothed; 0 before the first one. */
  get chunkMs(): number {
    return this.#chunkMs
  }

  /** Bytes that came so far. */
  get bytes(): number {
    return this.#bytes
  }

  /** Bytes came, from anywhere. */
  received(bytes: number): void {
    this.#bytes += bytes
  }

  /** A peer has sent a whole chunk in `ms`; what the last one of a blob takes, which is shorter, tells nothing. */
  arrived(ms: number): void {
    const taken = Math.min(ms, CHUNK_LIMIT_MS)
    this.#chunkMs = this.#chunkMs === 0 ? taken : this.#chunkMs + (taken - this.#chunkMs) * PACE_WEIGHT
  }
}
