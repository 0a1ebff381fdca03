import { HELP_BELOW, HELP_GAIN, HELP_REST_MS, HELP_WINDOW_CHUNKS, HELP_WINDOW_MS } from './constants.ts'

/** How far a fetch has come. */
interface Progress {
  /** Whether peers have what is missing, and nothing but them sets the pace. */
  readonly isWaiting: boolean
  /** Bytes so far. */
  readonly fromPeers: number
  readonly fromUpstream: number
  /** What a chunk takes on this node's line, in ms. */
  readonly chunkMs: number
}

/**
 * Finds out whether the peers of a blob are so slow that upstream should help. It goes on helping for as long as that makes the
 * fetch faster. Where it does not, it is upstream that is slow, or this node's own line, or one that all nodes share.
 */
export class SlowPeers {
  #since = Number.NaN
  #fromPeers = 0
  #fromUpstream = 0
  #areSlow = false
  /** Bytes a second before upstream helped. */
  #alone = 0
  #restUntil = Number.NEGATIVE_INFINITY

  /** Whether upstream should help. */
  get areSlow(): boolean {
    return this.#areSlow
  }

  /** To be called often. @param now ms of any clock that does not go back */
  measure(now: number, progress: Progress): void {
    if (!progress.isWaiting || Number.isNaN(this.#since)) {
      this.#areSlow = false
      this.#restart(now, progress)
      return
    }
    const ms = now - this.#since
    if (ms < Math.max(HELP_WINDOW_MS, HELP_WINDOW_CHUNKS * progress.chunkMs)) return
    const byPeers = progress.fromPeers - this.#fromPeers
    const byUpstream = progress.fromUpstream - this.#fromUpstream
    // Where nothing came from upstream it has not helped: another node has the claim, or it was not asked yet.
    if (byUpstream === 0) this.#alone = (byPeers / ms) * 1000
    else if (((byPeers + byUpstream) / ms) * 1000 < this.#alone * HELP_GAIN) this.#restUntil = now + HELP_REST_MS
    this.#areSlow = (byPeers / ms) * 1000 < HELP_BELOW && now >= this.#restUntil
    this.#restart(now, progress)
  }

  #restart(now: number, { fromPeers, fromUpstream }: Progress): void {
    this.#since = now
    this.#fromPeers = fromPeers
    this.#fromUpstream = fromUpstream
  }
}
