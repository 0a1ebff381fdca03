import type { Checkpoints, ClaimedCheckpoints, ProvenCheckpoints } from './checkpoints.ts'
import { linkOf, verdictOf } from './link.ts'
import { quarterLength } from './quarter.ts'
import { QuarterHasher, type Sha256Engine } from './sha256.ts'
import { sameState } from './state.ts'

/**
 * What hashing a quarter along a list says: `wrong` is that the quarter or the list is (see {@link divergence}); `unknown`, that
 * the list has not got that far, or that the hasher began with another list's state.
 */
export type QuarterVerdict = 'fits' | 'wrong' | 'unknown'

/**
 * Whether quarter `index` leads from its state in the list to the next one.
 * @param quarter its bytes, which must not change until the promise settles, or the hasher that was given all of them
 * @throws {RangeError} where there is no such quarter
 */
export async function checkQuarter(
  engine: Sha256Engine,
  list: Checkpoints,
  index: number,
  quarter: QuarterHasher | Uint8Array,
): Promise<QuarterVerdict> {
  const before = list.stateAt(index)
  const after = list.stateAt(index + 1)
  if (before === undefined || after === undefined) return 'unknown'
  if (quarter instanceof QuarterHasher && !sameState(quarter.before, before)) return 'unknown'
  if (quarter.length !== quarterLength(index, list.size)) return 'wrong'
  const hasher = quarter instanceof QuarterHasher ? quarter : new QuarterHasher(engine, before)
  if (quarter instanceof Uint8Array) await hasher.push(quarter)
  return verdictOf(list, await linkOf(hasher, index, list.size)) === 'fits' ? 'fits' : 'wrong'
}

/**
 * The quarter that shows which of two complete lists of a blob is false: the last one before which they differ. Both agree on
 * the state after it, and no two states and quarters are known to lead to one state. So, the quarter being fetched from each
 * side, only the side that tells the truth has a state and a quarter that {@link checkQuarter} finds to fit.
 * @returns its index, at least 1; undefined where the lists are the same
 * @throws {TypeError} for lists of different blobs
 */
export function divergence(
  a: ClaimedCheckpoints | ProvenCheckpoints,
  b: ClaimedCheckpoints | ProvenCheckpoints,
): number | undefined {
  assertSameBlob(a, b)
  for (let index = a.quarters - 1; index > 0; index -= 1) {
    if (!sameState(a.stateAt(index), b.stateAt(index))) return index
  }
  return undefined
}

/**
 * The first quarter after which two lists differ, as far as both are known; for lists that still grow. The quarter does not
 * show who lies: a false one fits a state that was made from it. Only the end of the blob does, and {@link divergence} then.
 * @param from the first state that is compared, where those before it are known to be the same
 * @returns its index; undefined where what both know is the same
 * @throws {TypeError} for lists of different blobs
 */
export function firstDivergence(a: Checkpoints, b: Checkpoints, from = 1): number | undefined {
  assertSameBlob(a, b)
  for (let index = from; index < a.quarters; index += 1) {
    const [ofA, ofB] = [a.stateAt(index), b.stateAt(index)]
    if (ofA === undefined || ofB === undefined) return undefined
    if (!sameState(ofA, ofB)) return index - 1
  }
  return undefined
}

function assertSameBlob(a: Checkpoints, b: Checkpoints): void {
  if (a.digest !== b.digest || a.size !== b.size) throw new TypeError('the lists are of different blobs')
}
