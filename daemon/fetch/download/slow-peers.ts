import type { LinePace } from '../../swarm/session/line-pace.ts'
import { quarterBytes as chunkBytes } from '../../verify/quarter.ts'
import { HELP_BELOW, HELP_GAIN, HELP_REST_MS, HELP_WINDOW_CHUNKS, HELP_WINDOW_MS, SLOW_LINE_MS } from './constants.ts'

/** How far a fetch has come. */
interface Progress {
  /** Whether peers have what is missing, and nothing but them sets the pace. */
  readonly isWaiting: boolean
  /** Bytes so far. */
  readonly fromPeers: number
  readonly fromUpstream: number
  /** What a chunk took from upstream to whoever fetched it, in ms; 0 where that is not known. */
  readonly upstreamMs: number
  /** Of this node's line, over which other blobs come, too. */
  readonly pace: Pick<LinePace, 'bytes' | 'chunkMs'>
}

/**
 * Finds out whether the peers of a blob are so slow that upstream should help; on a slow line whether all that this node fetches is
 * so slow, as blobs take the line from each other; and whether upstream was faster to the one who fetched it there. It goes on
 * helping for as long as that makes the fetch faster. Where it does not, it is upstream that is slow, or this node's own line, or one
 * that all nodes share.
 */
export class SlowPeers {
  #since = Number.NaN
  #fromPeers = 0
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
    const chunkMs = progress.pace.chunkMs(now)
    if (ms < Math.max(HELP_WINDOW_MS, HELP_WINDOW_CHUNKS * chunkMs)) return
    const byLine = progress.pace.bytes - progress.fromUpstream - this.#byLine
    const byPeers = chunkMs >= SLOW_LINE_MS ? byLine : progress.fromPeers - this.#fromPeers
    const byUpstream = progress.fromUpstream - this.#fromUpstream
    // Where nothing came from upstream it has not helped: another node has the claim, or it was not asked yet.
    if (byUpstream === 0) this.#alone = (byPeers / ms) * 1000
    else if (((byPeers + byUpstream) / ms) * 1000 < this.#alone * HELP_GAIN) this.#restUntil = now + HELP_REST_MS
    const below = Math.min(HELP_BELOW, ((chunkBytes / progress.upstreamMs) * 1000) / HELP_GAIN)
    this.#areSlow = (byPeers / ms) * 1000 < below && now >= this.#restUntil
    this.#restart(now, progress)
  }

  #restart(now: number, { fromPeers, fromUpstream, pace }: Progress): void {
    this.#byLine = pace.bytes - fromUpstream
    this.#since = now
    this.#fromPeers = fromPeers
    this.#fromUpstream = fromUpstream
  }
}
