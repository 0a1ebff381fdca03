import { setTimeout as delay } from 'node:timers/promises'
import type { Logger } from 'pino'
import type { Digest } from '../../../proxy/oci/digest.ts'
import {
  FIRST_RETRY_MS,
  MAX_ATTEMPTS,
  MAX_QUEUED,
  PARALLEL_FRESH,
  PROVIDE_DEADLINE_MS,
  REFRESH_MS,
} from './constants.ts'
import { Pauses } from './pauses.ts'
import { AdvertiseQueue, type Job } from './queue.ts'
import type { ProviderRecords } from './records.ts'

interface DhtPublisherOptions {
  readonly records: Pick<ProviderRecords, 'provide'>
  readonly log: Logger
}

interface Running {
  readonly cancel: AbortController
  readonly done: Promise<void>
}

/**
 * Announces blobs on the DHT, one by one: fresh ones at once, the rest at a tenth of a core. For swarms that are larger than
 * what a node sees of them.
 */
export class DhtPublisher {
  readonly #options: DhtPublisherOptions
  readonly #queue = new AdvertiseQueue(MAX_QUEUED)
  readonly #running = new Map<Digest, Running>()
  readonly #pauses = new Pauses()
  #workers: Promise<unknown> = Promise.resolve()

  constructor(options: DhtPublisherOptions) {
    this.#options = options
  }

  /** How many are queued, without those of a round over what is held. */
  get queued(): number {
    return this.#queue.size + this.#running.size
  }

  start(): void {
    const others = Array.from({ length: PARALLEL_FRESH - 1 }, () => this.#work(async () => this.#queue.takeFresh()))
    this.#workers = Promise.all([this.#work(() => this.#queue.take()), ...others])
  }

  async stop(): Promise<void> {
    this.#pauses.stop()
    this.#queue.endRound()
    await this.#workers
  }

  add(digest: Digest, fresh: boolean): void {
    if (this.#running.has(digest) || this.#pauses.stopped.aborted) return
    this.#queue.add(digest, fresh)
    this.#pauses.wake()
  }

  /** Announces all that is held, in the background. */
  round(held: AsyncIterable<Digest>): void {
    if (this.#pauses.stopped.aborted) return
    this.#queue.round(held)
    this.#pauses.wake()
  }

  /** Ends an announcement, and resolves when it no longer writes. */
  async cancel(digest: Digest): Promise<void> {
    this.#queue.delete(digest)
    const running = this.#running.get(digest)
    running?.cancel.abort()
    await running?.done
  }

  async #work(take: () => Promise<Job | undefined>): Promise<void> {
    while (!this.#pauses.stopped.aborted) {
      const wake = this.#pauses.woken
      const job = await take().catch((error) => {
        this.#options.log.warn({ err: error }, 'what is held can not be listed')
        this.#queue.endRound()
        return undefined
      })
      if (job === undefined) {
        await this.#pauses.take(REFRESH_MS, wake)
        continue
      }
      const started = performance.now()
      await this.#announce(job.digest)
      if (!job.fresh) await this.#pauses.after(started, wake)
    }
  }

  async #announce(digest: Digest): Promise<void> {
    const cancel = new AbortController()
    const done = this.#attempt(digest, AbortSignal.any([cancel.signal, this.#pauses.stopped]))
    this.#running.set(digest, { cancel, done })
    await done
    this.#running.delete(digest)
  }

  async #attempt(digest: Digest, signal: AbortSignal): Promise<void> {
    const { records, log } = this.#options
    for (let attempt = 1; !signal.aborted; attempt++) {
      let reason: unknown = 'no peer took the record'
      try {
        const either = AbortSignal.any([signal, AbortSignal.timeout(PROVIDE_DEADLINE_MS)])
        if ((await records.provide(digest, either)) > 0) return
      } catch (error) {
        reason = error
      }
      if (signal.aborted) return
      if (attempt === MAX_ATTEMPTS) return log.debug({ digest, reason }, 'a blob was not announced; trying again later')
      await delay(FIRST_RETRY_MS * 2 ** (attempt - 1), undefined, { signal }).catch(() => {})
    }
  }
}
