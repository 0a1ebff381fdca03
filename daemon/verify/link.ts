import { quarterCount, quarterLength } from './quarter.ts'
import type { QuarterHasher } from './sha256.ts'
import { type Sha256State, sameState } from './state.ts'

/** The constructor stays in this file: a link is made by hashing the quarter, in {@link linkOf} only. */
class Link {
  readonly quarter: number
  /** The state from which the quarter was hashed. */
  readonly before: Sha256State
  // Private, so that no object that merely looks like a link is one.
  readonly #after: Sha256State

  constructor(quarter: number, before: Sha256State, after: Sha256State) {
    this.quarter = quarter
    this.before = before
    this.#after = after
  }

  /** The state to which it leads; for the last quarter the digest. */
  get after(): Sha256State {
    return this.#after
  }
}

/** A quarter that was hashed here, as the two states that it leads between, whatever any list says of them. */
export type { Link }

/** What is known of a list of checkpoints, see `Checkpoints`. */
interface States {
  stateAt(index: number): Sha256State | undefined
}

/**
 * What a quarter that was hashed says of a list:
 * - `fits`: it leads from its state in the list to the next one
 * - `wrong`: it leads elsewhere, so the quarter or the list is wrong
 * - `open`: the list ends before it, and says nothing
 * - `unknown`: the list does not lead to it, or to another state than the one it was hashed from
 */
export type LinkVerdict = 'fits' | 'wrong' | 'open' | 'unknown'

/**
 * Closes the hash of quarter `index` of a blob of `size` bytes.
 * @param hasher was given all of the quarter
 * @throws {RangeError} where that is not as long as the quarter
 */
export async function linkOf(hasher: QuarterHasher, index: number, size: number): Promise<Link> {
  const expected = quarterLength(index, size)
  if (hasher.length !== expected) throw new RangeError(`quarter ${index} has ${expected} bytes, not ${hasher.length}`)
  const isLast = index === quarterCount(size) - 1
  return new Link(index, hasher.before, isLast ? await hasher.digest(size) : hasher.state())
}

/** What a link says of a list as it is now. @throws {RangeError} where the list has no such quarter */
export function verdictOf(list: States, { quarter, before, after }: Link): LinkVerdict {
  const [from, to] = [list.stateAt(quarter), list.stateAt(quarter + 1)]
  if (from === undefined || !sameState(from, before)) return 'unknown'
  if (to === undefined) return 'open'
  return sameState(to, after) ? 'fits' : 'wrong'
}
