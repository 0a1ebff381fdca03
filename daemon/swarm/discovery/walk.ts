import { setTimeout as delay } from 'node:timers/promises'
import type { Logger } from 'pino'
import { jitter, WALK_DEADLINE_MS, WALK_INTERVAL_MS, WALKS_AFTER_JOIN_MS } from './constants.ts'

interface WalkOptions {
  /** Asks the peers nearest to this node who else is near; libp2p reports those as discovered. */
  readonly walk: (signal: AbortSignal) => Promise<void>
  readonly isNeeded: () => boolean
  readonly log: Logger
}

/**
 * Gets to know the peers of peers: a few times right after this node joined a swarm, when others may be joining as well, and
 * then now and again, which also closes the gap when two swarms meet. (kad-dht does so at start, when nobody is there to ask,
 * and five minutes later.)
 */
export class Walk {
  readonly #options: WalkOptions
  readonly #stopped = new AbortController()
  #joined = new AbortController()
  #loop: Promise<void> = Promise.resolve()

  constructor(options: WalkOptions) {
    this.#options = options
  }

  start(): void {
    this.#loop = this.#run()
  }

  /** To be called when the first peer is there. */
  joined(): void {
    this.#joined.abort()
  }

  async stop(): Promise<void> {
    this.#stopped.abort()
    await this.#loop
  }

  async #run(): Promise<void> {
    while (!this.#stopped.signal.aborted) {
      const pauses = this.#joined.signal.aborted ? WALKS_AFTER_JOIN_MS : [WALK_INTERVAL_MS]
      if (this.#joined.signal.aborted) this.#joined = new AbortController()
      for (const pause of pauses) {
        const woken = AbortSignal.any([this.#joined.signal, this.#stopped.signal])
        await delay(jitter(pause), undefined, { signal: woken }).catch(() => {})
        if (woken.aborted) break
        await this.#step()
      }
    }
  }

  async #step(): Promise<void> {
    const { walk, isNeeded, log } = this.#options
    if (!isNeeded()) return
    const deadline = AbortSignal.any([this.#stopped.signal, AbortSignal.timeout(WALK_DEADLINE_MS)])
    await walk(deadline).catch((error) => log.debug({ err: error }, 'a walk through the DHT ended early'))
  }
}
