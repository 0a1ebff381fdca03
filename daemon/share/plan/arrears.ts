import type { Numbers } from './numbers.ts'

/** Time between two looks counts for this long at most, in ms: on a busy machine it is not others that keep a node waiting. */
const LOOK_MS = 50

/** Arrears this close to the most count as the most, in ms. Below what a clock can add to its time, it would be looked for ever. */
const NEAR_MS = 0.001

/**
 * In an open swarm: by how much strangers are behind what upstream would have brought meanwhile, in ms. Time in which a blob is left to
 * them counts against them, and what came from them and was verified counts for them: nothing that anybody says does. So whatever
 * strangers say, and however many there are, they hold a node back for {@link Numbers.arrearsMs} at most, for all blobs together.
 */
export class Arrears {
  readonly #numbers: Numbers
  /** Not all nodes lose patience at once: those that do first bring something for the others. */
  readonly #most: number
  #ms = 0
  #isCounting = false
  #at = 0

  /** @param rank 0 up to 1, another one for each node */
  constructor(numbers: Numbers, rank: number) {
    this.#numbers = numbers
    this.#most = numbers.arrearsMs * (1 + rank / 2)
  }

  /** Whether upstream is read, whoever says that somebody else does it, or that a neighbour has it. */
  get isBehind(): boolean {
    return this.#ms >= this.#most - NEAR_MS
  }

  /** When to look again if nothing comes, in ms. */
  get wakeAt(): number {
    if (!this.#isCounting || this.isBehind) return Number.POSITIVE_INFINITY
    return this.#at + Math.min(LOOK_MS, this.#most - this.#ms)
  }

  /** Time has passed; nothing is forgotten sooner than over a pull or two. */
  pass(now: number): void {
    const passed = now - this.#at
    this.#at = now
    this.#ms += this.#isCounting ? Math.min(passed, LOOK_MS) : -passed / this.#numbers.arrearsMemory
    this.#ms = Math.min(this.#most, Math.max(0, this.#ms))
  }

  /** @param isLeft whether a blob that is wanted is left to others from now on */
  count(isLeft: boolean): void {
    this.#isCounting = isLeft
  }

  /** Upstream may be asked again after it could not be: what was not its time is not counted. */
  forgive(): void {
    this.#ms = 0
  }

  /**
   * A part came from a neighbour.
   * @param isFirst whether it is the first one of its blob: upstream takes a moment before it sends, too
   * @param chunkMs what upstream takes for a chunk, in ms, where that is known
   */
  came(isFirst: boolean, chunkMs: number): void {
    const { enoughMs, quarters } = this.#numbers
    const value = Math.max(enoughMs, 1.2 * chunkMs)
    this.#ms = Math.max(0, this.#ms - value / quarters - (isFirst ? value : 0))
  }
}
