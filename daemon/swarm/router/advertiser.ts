import { setTimeout as delay } from 'node:timers/promises'
import type { Logger } from 'pino'
import type { Digest } from '../../../proxy/oci/digest.ts'
import {
  BACKGROUND_SHARE,
  FIRST_RETRY_MS,
  LONGEST_PAUSE_MS,
  MAX_ATTEMPTS,
  MAX_QUEUED,
  PARALLEL_FRESH,
  PROVIDE_DEADLINE_MS,
  REFRESH_MS,
  REPEAT_AFTER_MS,
  WITHDRAW_MS,
} from './constants.ts'
import { AdvertiseQueue, type Job } from './queue.ts'
import type { ProviderRecords } from './records.ts'

interface AdvertiserOptions {
  readonly records: ProviderRecords
  /** Complete blobs that may be shared, newest first. */
  readonly held: () => AsyncIterable<Digest>
  readonly isAlone: () => boolean
  readonly log: Logger
}

interface Running {
  readonly cancel: AbortController
  readonly done: Promise<void>
}

/**
 * Announces blobs on the DHT in the background: fresh ones at once, the rest at a tenth of a core. Everything that is held is
 * announced again after a start, when the node stops being alone, and every twelve hours.
 */
export class Advertiser {
  readonly #options: AdvertiserOptions
  readonly #queue = new AdvertiseQueue(MAX_QUEUED)
  readonly #provided = new Set<Digest>()
  readonly #running = new Map<Digest, Running>()
  readonly #stopped = new AbortController()
  #wake = new AbortController()
  #refresh: NodeJS.Timeout | undefined
  #lastRound = Number.NEGATIVE_INFINITY
  #workers: Promise<unknown> = Promise.resolve()

  constructor(options: AdvertiserOptions) {
    this.#options = options
  }

  /** How many blobs were announced and not withdrawn. */
  get provided(): number {
    return this.#provided.size
  }

  /** How many are queued, without those of a round over what is held. */
  get queued(): number {
    return this.#queue.size + this.#running.size
  }

  start(): void {
    const first = this.#dropStaleRecords().then(() => this.#round())
    const others = Array.from({ length: PARALLEL_FRESH - 1 }, () => this.#work(async () => this.#queue.takeFresh()))
    this.#workers = Promise.all([first.then(() => this.#work(() => this.#queue.take())), ...others])
    this.#refresh = setInterval(() => this.#round(), REFRESH_MS)
  }

  async stop(): Promise<void> {
    clearInterval(this.#refresh)
    this.#stopped.abort()
    this.#queue.endRound()
    await this.#workers
  }

  advertise(digest: Digest, fresh: boolean): void {
    if (this.#running.has(digest) || this.#stopped.signal.aborted) return
    this.#queue.add(digest, fresh)
    this.#notify()
  }

  /** Takes a blob back. Records at peers can't be recalled: the transfer server's 404 is what counts. */
  async withdraw(digest: Digest): Promise<void> {
    this.#queue.delete(digest)
    this.#provided.delete(digest)
    const running = this.#running.get(digest)
    running?.cancel.abort()
    // the record is removed after an announcement that would write it again
    if (running !== undefined) await Promise.race([running.done, delay(WITHDRAW_MS, undefined, { ref: false })])
    try {
      await this.#options.records.remove(digest, AbortSignal.timeout(WITHDRAW_MS))
    } catch (error) {
      this.#options.log.debug({ digest, err: error }, 'the local provider record was not removed')
    }
  }

  /** To be called when a peer connects to a node that was alone. */
  joined(): void {
    if (performance.now() - this.#lastRound > REPEAT_AFTER_MS) this.#round()
    this.#notify()
  }

  #round(): void {
    if (this.#stopped.signal.aborted) return
    this.#lastRound = this.#options.isAlone() ? Number.NEGATIVE_INFINITY : performance.now()
    this.#queue.round(this.#options.held())
    this.#notify()
  }

  #notify(): void {
    this.#wake.abort()
    this.#wake = new AbortController()
  }

  /** Records of an earlier run whose blobs are gone would be answered to peers, and renewed by the library. */
  async #dropStaleRecords(): Promise<void> {
    try {
      await this.#options.records.retain(this.#options.held(), this.#stopped.signal)
    } catch (error) {
      if (!this.#stopped.signal.aborted)
        this.#options.log.warn({ err: error }, 'stale provider records were not removed')
    }
  }

  async #work(take: () => Promise<Job | undefined>): Promise<void> {
    while (!this.#stopped.signal.aborted) {
      const wake = this.#wake.signal
      const job = await take().catch((error) => {
        this.#options.log.warn({ err: error }, 'what is held can not be listed')
        this.#queue.endRound()
        return undefined
      })
      if (job === undefined) {
        await this.#pause(REFRESH_MS, wake)
        continue
      }
      const started = performance.now()
      await this.#announce(job.digest)
      const pause = (performance.now() - started) * (BACKGROUND_SHARE - 1)
      if (!job.fresh) await this.#pause(Math.min(pause, LONGEST_PAUSE_MS), wake)
    }
  }

  async #pause(ms: number, wake: AbortSignal): Promise<void> {
    await delay(ms, undefined, { signal: AbortSignal.any([wake, this.#stopped.signal]), ref: false }).catch(() => {})
  }

  async #announce(digest: Digest): Promise<void> {
    const cancel = new AbortController()
    const done = this.#attempt(digest, AbortSignal.any([cancel.signal, this.#stopped.signal]))
    this.#running.set(digest, { cancel, done })
    await done
    this.#running.delete(digest)
  }

  async #attempt(digest: Digest, signal: AbortSignal): Promise<void> {
    const { records, isAlone, log } = this.#options
    for (let attempt = 1; !signal.aborted; attempt++) {
      let reason: unknown = 'no peer took the record'
      try {
        const reached = await records.provide(
          digest,
          AbortSignal.any([signal, AbortSignal.timeout(PROVIDE_DEADLINE_MS)]),
        )
        // alone, the local record is all there can be; the first connection starts a round
        if (reached > 0 || isAlone()) {
          this.#provided.add(digest)
          return
        }
      } catch (error) {
        reason = error
      }
      if (signal.aborted) return
      if (attempt === MAX_ATTEMPTS) return log.debug({ digest, reason }, 'a blob was not announced; trying again later')
      await delay(FIRST_RETRY_MS * 2 ** (attempt - 1), undefined, { signal }).catch(() => {})
    }
  }
}
