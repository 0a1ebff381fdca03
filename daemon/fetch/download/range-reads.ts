import { NUMBERS } from '../../share/plan/numbers.ts'
import { quarterBytes, quartersPerChunk } from '../../verify/quarter.ts'
import type { Assembly } from './assembly.ts'
import { MAX_URGENT, SMALL_RANGE_BYTES, URGENT_QUARTERS } from './constants.ts'
import type { Attempt, AttemptOptions } from './context.ts'
import type { Reading } from './reader.ts'
import type { UpstreamReads } from './upstream-reads.ts'

interface RangeReadsOptions {
  readonly attempt: Attempt
  readonly readings: AttemptOptions['readings']
  readonly upstream: Pick<UpstreamReads, 'range'>
  /** Whether this node reads the blob for all. */
  readonly isHead: () => boolean
}

/**
 * What clients wait for who read a range: peers are asked for it before anything else; and upstream, where no peer has it. A small range
 * is fetched there at once by whoever needs it, a long one by the node that reads the blob for all, or bit by bit where that does not come.
 */
export class RangeReads {
  readonly #options: RangeReadsOptions
  /** Where each reading was when it was looked at, and since when. */
  readonly #places = new WeakMap<Reading, { readonly position: number; readonly since: number }>()
  #urgent = ''

  constructor(options: RangeReadsOptions) {
    this.#options = options
  }

  /** To be called often. @param isEndSought whether clients wait for the last quarter, which proves the size */
  look(assembly: Assembly, isEndSought = false): void {
    const urgent: number[] = isEndSought ? [assembly.quarters - 1] : []
    let clients = 0
    for (const reading of this.#options.readings) {
      const missing = missingOf(reading, assembly)
      if (missing === undefined) continue
      const { first, last } = missing
      this.#ask(reading, first, last)
      if (++clients > MAX_URGENT) continue
      for (let quarter = first; quarter <= Math.min(last, first + URGENT_QUARTERS - 1); quarter++) urgent.push(quarter)
    }
    const text = urgent.join()
    if (text === this.#urgent) return
    this.#urgent = text
    this.#options.attempt.sharing?.urgent(urgent)
  }

  #ask(reading: Reading, first: number, last: number): void {
    const { attempt, upstream, isHead } = this.#options
    const { sharing } = attempt
    if (sharing?.expects(first) === true && !sharing.isBehind && !this.#isLate(reading)) return
    const most = SMALL_RANGE_BYTES / quarterBytes
    if (reading.end + 1 - reading.start <= SMALL_RANGE_BYTES || isHead())
      upstream.range(first, Math.min(last, first + most - 1))
    else if (this.#isLate(reading)) upstream.range(first, Math.min(last, first + quartersPerChunk - 1))
  }

  /** Whether a client has got nothing for so long that others have not to be relied on. */
  #isLate(reading: Reading): boolean {
    const now = performance.now()
    const place = this.#places.get(reading)
    if (place?.position !== reading.position) {
      this.#places.set(reading, { position: reading.position, since: now })
      return false
    }
    return now - place.since > NUMBERS.patienceMs
  }
}

/** The first quarter that is not there of a range that a client reads, and the last one of the range. */
function missingOf({ position, end, isRange }: Reading, { held, raw }: Assembly) {
  if (!isRange) return undefined
  const last = Math.floor(end / quarterBytes)
  let first = Math.floor(position / quarterBytes)
  while (first <= last && (held.has(first) || raw.has(first))) first++
  return first > last ? undefined : { first, last }
}
