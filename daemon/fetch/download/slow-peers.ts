import type { Pace } from '../../swarm/session/pace.ts'
import { HELP_BELOW, HELP_GAIN, HELP_REST_MS, HELP_WINDOW_CHUNKS, HELP_WINDOW_MS } from './constants.ts'

/** How far a fetch has come. */
interface Progress {
  /** Whether peers have what is missing, and nothing but them sets the pace. */
  readonly isWaiting: boolean
  /** What came over this node's line from anywhere. */
  readonly pace: Pick<Pace, 'bytes' | 'chunkMs'>
  /** Bytes of this blob so far. */
  readonly fromUpstream: number
}

/**
 * Finds out whether the peers of a blob are so slow that upstream should help: they, and all that this node fetches beside, take so
 * little of its line. It goes on helping for as long as that makes the fetch faster. Where it does not, it is upstream that is
 * slow, or this node's own line, or one that all nodes share.
 */
export class SlowPeers {
  #since = Number.NaN
  /** What came from elsewhere than this blob's upstream. */
  #byLine = 0
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
    if (ms < Math.max(HELP_WINDOW_MS, HELP_WINDOW_CHUNKS * progress.pace.chunkMs)) return
    const byLine = progress.pace.bytes - progress.fromUpstream - this.#byLine
    const byUpstream = progress.fromUpstream - this.#fromUpstream
    // Where nothing came from upstream it has not helped: another node has the claim, or it was not asked yet.
    if (byUpstream === 0) this.#alone = (byLine / ms) * 1000
    else if (((byLine + byUpstream) / ms) * 1000 < this.#alone * HELP_GAIN) this.#restUntil = now + HELP_REST_MS
    this.#areSlow = (byLine / ms) * 1000 < HELP_BELOW && now >= this.#restUntil
    this.#restart(now, progress)
  }

  #restart(now: number, { pace, fromUpstream }: Progress): void {
    this.#since = now
    this.#byLine = pace.bytes - fromUpstream
    this.#fromUpstream = fromUpstream
  }
}
