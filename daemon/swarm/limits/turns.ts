import type { PeerId } from '../peer-id.ts'
import { Allowance, Allowances } from './allowance.ts'

/**
 * What a peer may take of this node's time at once without a turn, in ms, and what it gets back each second. A node that joins takes some
 * 35, and one that pulls earns what it takes. With less, the nodes of a fleet that start together wait for each other.
 */
const LITTLE_MS = 100
const LITTLE_PER_SECOND = 10

/**
 * What those that take more may take all together, in ms for each second: a tenth of a core. With more, clients wait behind floods; with
 * less, ten nodes that announce 10,000 blobs each at the same time take more than half a minute.
 */
const TOGETHER_PER_SECOND = 100

/** And at once, in ms. With more, clients wait when a flood begins; with less, one node that announces much waits for nobody. */
const TOGETHER_MS = 100

interface TurnsOptions {
  /** Peers that are remembered. */
  readonly remembered: number
  readonly now?: (() => number) | undefined
}

/** A peer that waits for its turn. */
interface Waiting {
  /** What it has left of its own allowance, in ms. */
  readonly left: () => number
  readonly go: () => void
}

/**
 * Peers that take much of this node's time take turns, so that all of them together leave it most of its time, however many there are. The
 * one that has most left of its own allowance is the next. Peers that take little never wait.
 */
export class Turns {
  readonly #little: Allowances
  readonly #together: Allowance
  readonly #waiting = new Set<Waiting>()
  #timer: NodeJS.Timeout | undefined

  constructor({ remembered, now }: TurnsOptions) {
    this.#little = new Allowances({ most: LITTLE_MS, perSecond: LITTLE_PER_SECOND, remembered, now })
    this.#together = new Allowance(TOGETHER_MS, TOGETHER_PER_SECOND, now)
  }

  earn(peer: PeerId, ms: number): void {
    this.#little.of(peer).earn(ms)
  }

  spend(peer: PeerId, ms: number): void {
    const own = this.#little.of(peer)
    const little = Math.min(ms, Math.max(0, own.left))
    own.spend(little)
    if (little < ms) this.#together.spend(ms - little)
  }

  mustWait(peer: PeerId): boolean {
    // A peer that waits is not overtaken by one that takes as much.
    return this.#little.of(peer).left < 1 && (this.#waiting.size > 0 || this.#together.left < 0)
  }

  /**
   * @param left what the peer has left of its own allowance, in ms
   * @param go called once, when it is its turn; what it reads is spent within the call
   */
  wait(left: () => number, go: () => void): void {
    this.#waiting.add({ left, go })
    this.#wake()
  }

  #wake(): void {
    if (this.#timer !== undefined || this.#waiting.size === 0) return
    const ms = (Math.max(0, -this.#together.left) / TOGETHER_PER_SECOND) * 1000
    this.#timer = setTimeout(() => {
      this.#timer = undefined
      if (this.#together.left >= 0) {
        const next = [...this.#waiting].reduce((one, other) => (other.left() > one.left() ? other : one))
        this.#waiting.delete(next)
        next.go()
      }
      this.#wake()
    }, Math.ceil(ms))
    this.#timer.unref()
  }
}
