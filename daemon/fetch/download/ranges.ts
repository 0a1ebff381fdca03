import type { Session } from '../../swarm/session/session.ts'
import { chunkBytes } from '../../verify/chunk.ts'
import type { Assembly } from './assembly.ts'
import { MAX_URGENT, SMALL_RANGE_BYTES, URGENT_CHUNKS } from './constants.ts'
import type { Reading } from './reader.ts'
import type { UpstreamFill } from './upstream-fill.ts'

interface RangesOptions {
  readonly readings: ReadonlySet<Reading>
  readonly assembly: Assembly
  readonly session: Session | undefined
  readonly upstream: UpstreamFill
  /** Whether a chunk can be expected from peers. */
  readonly expects: (chunk: number) => boolean
  /** By what right upstream is asked for ranges that are not small, and for how many chunks at once; undefined: by none. */
  readonly right: { readonly kind: 'range' | 'turn'; readonly limit: number } | undefined
}

/**
 * What clients that read a range wait for comes first: from peers, or from upstream where they don't have it.
 */
export function lookAfterRanges(options: RangesOptions): void {
  const { readings, assembly, session, upstream, expects, right } = options
  const urgent: number[] = []
  for (const { position, end, isRange } of readings) {
    if (!isRange || urgent.length >= MAX_URGENT) continue
    const last = Math.floor(end / chunkBytes)
    let chunk = Math.floor(position / chunkBytes)
    while (chunk <= last && (assembly.held.has(chunk) || assembly.raw.has(chunk))) chunk++
    if (chunk > last) continue
    for (let next = chunk; next <= Math.min(last, chunk + URGENT_CHUNKS - 1); next++) urgent.push(next)
    const isComing = expects(chunk) || upstream.isComing(chunk, URGENT_CHUNKS)
    if (isComing) continue
    if (end + 1 - position <= SMALL_RANGE_BYTES) upstream.fetchRange('range', chunk, last, expects)
    else if (right !== undefined)
      upstream.fetchRange(right.kind, chunk, Math.min(last, chunk + right.limit - 1), expects)
  }
  if (session !== undefined) session.urgent = urgent
}
