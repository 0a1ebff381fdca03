import type { Digest } from '../../../proxy/oci/digest.ts'

/** What is to be announced next. */
export interface Job {
  readonly digest: Digest
  readonly fresh: boolean
}

/**
 * Blobs to announce: those completed just now first, then others that were queued, then all that is held, read as it goes.
 * Each digest is queued once. A full queue drops its oldest.
 */
export class AdvertiseQueue {
  readonly #fresh = new Set<Digest>()
  readonly #other = new Set<Digest>()
  readonly #limit: number
  #held: AsyncIterator<Digest> | undefined

  constructor(limit: number) {
    this.#limit = limit
  }

  get size(): number {
    return this.#fresh.size + this.#other.size
  }

  add(digest: Digest, fresh: boolean): void {
    if (this.#fresh.has(digest)) return
    this.#other.delete(digest)
    push(fresh ? this.#fresh : this.#other, digest, this.#limit)
  }

  delete(digest: Digest): void {
    this.#fresh.delete(digest)
    this.#other.delete(digest)
  }

  /** Forgets all that is queued, and ends the round. */
  clear(): void {
    this.#fresh.clear()
    this.#other.clear()
    this.endRound()
  }

  /** Starts a round over all that is held; a round that is under way starts again. */
  round(held: AsyncIterable<Digest>): void {
    this.endRound()
    this.#held = held[Symbol.asyncIterator]()
  }

  endRound(): void {
    void this.#held?.return?.()
    this.#held = undefined
  }

  takeFresh(): Job | undefined {
    const digest = shift(this.#fresh)
    return digest === undefined ? undefined : { digest, fresh: true }
  }

  /** The next one of any kind; undefined where there is nothing to do. */
  async take(): Promise<Job | undefined> {
    const fresh = this.takeFresh()
    if (fresh !== undefined) return fresh
    const other = shift(this.#other)
    if (other !== undefined) return { digest: other, fresh: false }
    const round = this.#held
    const next = await round?.next()
    if (next?.done === false) return { digest: next.value, fresh: false }
    if (this.#held === round) this.#held = undefined
    return this.takeFresh()
  }
}

function push(queue: Set<Digest>, digest: Digest, limit: number): void {
  queue.add(digest)
  if (queue.size > limit) shift(queue)
}

function shift(queue: Set<Digest>): Digest | undefined {
  const [first] = queue
  if (first !== undefined) queue.delete(first)
  return first
}
