/** How long a chunk takes from upstream to the one node that fetches a blob there, as others see it. */
export class UpstreamPace {
  #since: number
  #from = 0
  #brought = 0
  #chunkMs: number | undefined

  /** @param now ms of any clock that does not go back */
  constructor(now: number) {
    this.#since = now
  }

  /** In ms; undefined where nothing is known. */
  get chunkMs(): number | undefined {
    return this.#chunkMs
  }

  /** Chunks that are with the swarm for sure. */
  get brought(): number {
    return this.#brought
  }

  /** The node that has the claim has brought so many chunks by now. */
  saw(brought: number, now: number, isFirst: boolean): void {
    // What came before is not known, nor how long another one has been at it.
    if (isFirst || brought < this.#brought) {
      this.#since = now
      this.#from = brought
    } else if (brought > this.#brought && brought > this.#from) {
      this.#chunkMs = (now - this.#since) / (brought - this.#from)
    }
    this.#brought = brought
  }
}
