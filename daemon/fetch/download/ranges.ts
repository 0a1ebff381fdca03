import { quarterBytes as chunkBytes } from '../../verify/quarter.ts'
import type { Assembly } from './assembly.ts'
import { MAX_URGENT, SMALL_RANGE_BYTES, URGENT_CHUNKS } from './constants.ts'
import type { Reading } from './reader.ts'
import type { UpstreamFill } from './upstream-fill.ts'

/** How a range is fetched from upstream: by the claim, as a small one, or in a turn; and how many chunks of it at once. */
interface RangeRight {
  readonly kind: 'range' | 'small' | 'turn'
  readonly limit: number
}

interface RangeOptions {
  readonly assembly: Assembly
  readonly upstream: UpstreamFill
  /** Whether a chunk can be expected from peers. */
  readonly expects: (chunk: number) => boolean
  readonly right: RangeRight
}

/** Chunks that clients wait for who read a range, those of who came first at the front: peers are asked for them before others. */
export function urgentChunks(readings: ReadonlySet<Reading>, assembly: Assembly): number[] {
  const urgent: number[] = []
  let clients = 0
  for (const reading of readings) {
    const missing = missingOf(reading, assembly)
    if (missing === undefined) continue
    if (++clients > MAX_URGENT) break
    const { first, last } = missing
    for (let chunk = first; chunk <= Math.min(last, first + URGENT_CHUNKS - 1); chunk++) urgent.push(chunk)
  }
  return urgent
}

/** Asks upstream for what a client waits for who reads a range, where peers don't have it. @returns whether it has made a request */
export function fetchRange(reading: Reading, { assembly, upstream, expects, right }: RangeOptions): boolean {
  const missing = missingOf(reading, assembly)
  if (missing === undefined) return false
  const { first, last } = missing
  if (expects(first) || upstream.isComing(first, URGENT_CHUNKS)) return false
  return upstream.fetchRange(right.kind, first, Math.min(last, first + right.limit - 1), expects)
}

/**
 * Whose chunks turns fetch, the next one first, so that one long range does not keep all others from upstream; undefined stands for all
 * who read the whole blob.
 * @param served by the turn before
 */
export function inTurn(readings: ReadonlySet<Reading>, served: Reading | undefined): (Reading | undefined)[] {
  const all = [...new Set([...readings].map((reading) => (reading.isRange ? reading : undefined)))]
  const next = all.indexOf(served) + 1
  return [...all.slice(next), ...all.slice(0, next)]
}

/** Whether upstream is asked for it whoever has the claim. What is left of a long one is not small: all nodes would ask for it. */
export function isSmall({ start, end }: Reading): boolean {
  return end + 1 - start <= SMALL_RANGE_BYTES
}

/** The first chunk that is not there of a range that a client reads, and the last one of the range. */
function missingOf({ position, end, isRange }: Reading, { held, raw }: Assembly) {
  if (!isRange) return undefined
  const last = Math.floor(end / chunkBytes)
  let first = Math.floor(position / chunkBytes)
  while (first <= last && (held.has(first) || raw.has(first))) first++
  return first > last ? undefined : { first, last }
}
