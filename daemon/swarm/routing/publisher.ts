import type { Logger } from 'pino'
import type { Digest } from '../../../proxy/oci/digest.ts'
import { COALESCE_MS } from '../announce/constants.ts'
import { positionOf } from '../find/key-space.ts'
import { hashOf, multihashOf } from '../router/cid.ts'
import { MAX_QUEUED, REFRESH_MS } from '../router/constants.ts'
import { Pauses } from '../router/pauses.ts'
import { AdvertiseQueue } from '../router/queue.ts'
import {
  FIRST_KEYS,
  FIRST_RETRY_MS,
  GONE_SHARE,
  LONGEST_RETRY_MS,
  MAX_KEYS,
  MAX_SORTED,
  SHORTEST_REFRESH_MS,
} from './constants.ts'
import type { Router } from './router.ts'

interface RoutedPublisherOptions {
  readonly router: Pick<Router, 'announce'>
  /** All blobs that this node announces; read as it goes. */
  readonly shared: ReadonlySet<Digest>
  readonly isLarge: () => boolean
  /** Part of this node's peers that goes in a minute. */
  readonly lossesPerMinute: () => number
  readonly log: Logger
}

/** Blobs of one kind, the first in the order of their positions. */
interface Keyed {
  readonly digest: Digest
  readonly key: Uint8Array
  readonly position: number
}

/**
 * Announces blobs in a large swarm, to the nodes near their keys: fresh ones at once, the rest at a tenth of a core. Nodes that keep
 * records come and go, so all is announced again before too many of them have gone: the more often, the more of this node's own peers go.
 */
export class RoutedPublisher {
  readonly #options: RoutedPublisherOptions
  readonly #queue = new AdvertiseQueue(MAX_QUEUED)
  readonly #takenBack = new Set<Digest>()
  readonly #pauses = new Pauses()
  #working = 0
  #failures = 0
  #roundAt = Number.NEGATIVE_INFINITY
  #work: Promise<void> = Promise.resolve()

  constructor(options: RoutedPublisherOptions) {
    this.#options = options
  }

  /** How many are queued, without those of a round over what is held. */
  get queued(): number {
    return this.#queue.size + this.#working + this.#takenBack.size
  }

  start(): void {
    this.#work = this.#run()
  }

  async stop(): Promise<void> {
    this.#pauses.stop()
    this.#queue.endRound()
    await this.#work
  }

  /** A blob is there. Does nothing in a small swarm. */
  add(digest: Digest, fresh: boolean): void {
    if (!this.#options.isLarge() || this.#pauses.stopped.aborted) return
    this.#takenBack.delete(digest)
    this.#queue.add(digest, fresh)
    this.#pauses.wake()
  }

  /** A blob goes. */
  withdraw(digest: Digest): void {
    this.#queue.delete(digest)
    if (!this.#options.isLarge() || this.#takenBack.size >= MAX_QUEUED) return
    this.#takenBack.add(digest)
    this.#pauses.wake()
  }

  /** Announces all that is held, in the background. */
  refresh(): void {
    this.#roundAt = Number.NEGATIVE_INFINITY
    this.#pauses.wake()
  }

  /** How long records last with as many losses as there are, in ms. */
  get #refreshMs(): number {
    const minutes = GONE_SHARE / Math.max(this.#options.lossesPerMinute(), Number.MIN_VALUE)
    return Math.min(REFRESH_MS, Math.max(SHORTEST_REFRESH_MS, minutes * 60_000))
  }

  async #run(): Promise<void> {
    while (!this.#pauses.stopped.aborted) {
      const { woken } = this.#pauses
      if (!this.#options.isLarge()) {
        // In a small swarm all is announced to each peer that connects.
        this.#queue.clear()
        this.#takenBack.clear()
        await this.#pauses.take(SHORTEST_REFRESH_MS, woken)
        continue
      }
      const now = performance.now()
      if (now - this.#roundAt >= this.#refreshMs) {
        this.#roundAt = now
        this.#queue.round(heldOf(this.#options.shared))
      }
      // Blobs of one image complete together.
      if (this.#queue.size > 0) await this.#pauses.take(COALESCE_MS, this.#pauses.stopped)
      const withdrawn = [...this.#takenBack].slice(0, MAX_SORTED)
      const isDone = (await this.#announce('withdraw', withdrawn)) && (await this.#place())
      if (isDone && this.#queue.size === 0 && this.#takenBack.size === 0 && this.#working === 0)
        await this.#pauses.take(Math.min(this.#refreshMs, SHORTEST_REFRESH_MS / 2), woken)
    }
  }

  /** Announces the next ones. @returns whether nothing is left */
  async #place(): Promise<boolean> {
    const digests: Digest[] = []
    let isFresh = false
    for (let job = await this.#queue.take(); job !== undefined; job = await this.#queue.take()) {
      isFresh ||= job.fresh
      if (this.#options.shared.has(job.digest)) digests.push(job.digest)
      if (digests.length >= MAX_SORTED) break
    }
    const started = performance.now()
    await this.#announce('place', digests)
    if (!isFresh && digests.length > 0) await this.#pauses.after(started, this.#pauses.woken)
    return digests.length < MAX_SORTED
  }

  /** @returns whether all were told; the rest waits */
  async #announce(action: 'place' | 'withdraw', digests: readonly Digest[]): Promise<boolean> {
    let left = digests.map(keyedOf).sort((a, b) => a.position - b.position)
    let size = FIRST_KEYS
    while (left.length > 0 && !this.#pauses.stopped.aborted) {
      this.#working = left.length
      const part = left.slice(0, size)
      try {
        const taken = await this.#options.router.announce(
          action,
          part.map(({ key }) => key),
        )
        if (action === 'withdraw') for (const { digest } of part.slice(0, taken)) this.#takenBack.delete(digest)
        left = left.slice(taken)
        size = taken === part.length ? Math.min(MAX_KEYS, size * 2) : taken
        this.#failures = 0
      } catch (error) {
        this.#options.log.debug({ action, blobs: left.length, err: error }, 'blobs were not announced; trying again')
        if (action === 'place') for (const { digest } of left) this.#queue.add(digest, false)
        const pause = Math.min(LONGEST_RETRY_MS, FIRST_RETRY_MS * 2 ** this.#failures++)
        this.#working = 0
        await this.#pauses.take(pause, this.#pauses.stopped)
        return false
      }
    }
    this.#working = 0
    return true
  }
}

async function* heldOf(shared: ReadonlySet<Digest>): AsyncGenerator<Digest, void> {
  yield* shared
}

function keyedOf(digest: Digest): Keyed {
  const key = hashOf(digest)
  return { digest, key, position: positionOf(multihashOf(key)) }
}
