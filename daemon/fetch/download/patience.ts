import { chunkBytes } from '../../verify/chunk.ts'
import { DESPERATE_LIMIT_MS, DESPERATE_MS } from './constants.ts'

interface PatienceOptions {
  /** 0 up to 1. */
  readonly random?: () => number
  /** ms of any clock that does not go back. */
  readonly now?: () => number
}

/**
 * Whether peers bring a blob further, or upstream is to be asked whoever has the claim. It is not asked what peers say that they
 * have, or whether something is under way: who is always busy, or sends a byte now and then, says and does a lot.
 */
export class Patience {
  readonly #now: () => number
  /** Not the same for all: the first node that loses patience has chunks for the others. */
  readonly #limit: number
  #since: number
  #bytesBefore = 0
  #isOver = false

  constructor({ random = Math.random, now = () => performance.now() }: PatienceOptions = {}) {
    this.#now = now
    this.#limit = DESPERATE_MS * (1 + random() / 2)
    this.#since = now()
  }

  /** How long no chunk came, in ms. */
  get silence(): number {
    return this.#now() - this.#since
  }

  /** Whether it was lost; until a peer brings a chunk. */
  get isOver(): boolean {
    return this.#isOver
  }

  /** A chunk is held. @param bytes that peers have sent so far */
  held(bytes: number, isFromPeer: boolean): void {
    this.#since = this.#now()
    this.#bytesBefore = bytes
    if (isFromPeer) this.#isOver = false
  }

  /** To be called often. @param bytes that peers have sent so far: where links are slow a chunk may take long, but it comes */
  look(bytes: number): void {
    const { silence } = this
    if (silence <= this.#limit) return
    const isTrickle = bytes - this.#bytesBefore < (chunkBytes * silence) / DESPERATE_MS
    if (isTrickle || silence > DESPERATE_LIMIT_MS) this.#isOver = true
  }
}
