import type { PeerId } from '../../swarm/ports.ts'
import { CREDIBLE_CHUNK_MS, STALE_CHUNKS, STALE_LIMIT_MS, STALE_MS } from './constants.ts'

/** How fast the node that has the claim gets a blob from upstream, as the coordinator tells the others. */
export class UpstreamPace {
  #holder: PeerId | undefined
  #since = 0
  #from = 0
  #brought = 0
  #grewAt = 0
  #chunkMs = 0

  /** What a chunk takes, in ms, as far as it is believed; 0 where that is not known. */
  get chunkMs(): number {
    return this.#chunkMs
  }

  /** Whether somebody has brought a chunk to the swarm who still brings more: most begin at the first one, and go on in order. */
  hasBrought(chunk: number, now: number): boolean {
    if (this.#holder === undefined || chunk >= this.#brought) return false
    const staleMs = Math.min(Math.max(STALE_MS, this.#chunkMs * STALE_CHUNKS), STALE_LIMIT_MS)
    return now - this.#grewAt < staleMs
  }

  /**
   * The coordinator has answered.
   * @param holder who has the claim; undefined where nobody has it, or this node itself
   * @param brought chunks that it has brought so far
   * @param now ms of any clock that does not go back
   */
  saw(holder: PeerId | undefined, brought: number, now: number): void {
    // A holder that brings less than before has begun anew.
    if (holder !== this.#holder || brought < this.#brought) {
      // How long it has been at it is not known. Until it has brought a chunk, what the one before it took is all that is known.
      this.#holder = holder
      this.#since = now
      this.#from = brought
      this.#grewAt = now
    } else if (brought > this.#brought) {
      this.#chunkMs = Math.min((now - this.#since) / (brought - this.#from), CREDIBLE_CHUNK_MS)
      this.#grewAt = now
    }
    this.#brought = brought
  }
}
