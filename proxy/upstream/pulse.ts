import type { Dispatcher } from 'undici'
import { exchangeTrusting } from './authorities.ts'

/** Of a registry, what its root is asked by. */
interface Asked {
  readonly pingUrl: URL
  readonly idleTimeout: number
  dispatcherFor(url: URL): Dispatcher
}

/** How long the root of a registry's API may take to answer, in ms, before the registry counts as one that hangs. */
const rootPatience = 5_000

/**
 * The same where no request has waited for as long as content may take, in ms. With less, a registry that takes some seconds for everything
 * gives nothing; with more, clients go on to their next mirror before they hear of one that hangs.
 */
const doubtfulRootPatience = 10_000

/** Longest wait for one answer of the root, in ms. Then it is asked anew: the connection may be one that nobody is left of. */
const rootTimeout = 30_000

/** How long the root is asked again and again after the last request that had to wait, in ms. */
const interestLasts = 600_000

/**
 * Whether a registry that lets requests wait is there at all. Content may take its time: a registry may have to get it from another one
 * first. The root of the API says nothing that could take long, so it is asked in the background, until it answers or nobody wants to know.
 */
export class Pulse {
  readonly #now: () => number
  /** When the first question went out that has no answer. */
  #askedAt: number | undefined
  #wantedAt = 0
  #feltAt = Number.NEGATIVE_INFINITY
  #ended = new AbortController()

  constructor(now: () => number) {
    this.#now = now
  }

  /** Whether not even the root answers. */
  get hasStopped(): boolean {
    return this.#silence >= rootPatience
  }

  /** Whether it does not answer for so long that nothing else needs to be known. */
  get hasStoppedForLong(): boolean {
    return this.#silence >= doubtfulRootPatience
  }

  /** How long the root has not answered, in ms. */
  get #silence(): number {
    return this.#askedAt === undefined ? 0 : this.#now() - this.#askedAt
  }

  /**
   * A request waits: asks the root, unless that is done already, or something was answered meanwhile.
   * @param since when the request began, in ms
   */
  doubt(registry: Asked, headers: Readonly<Record<string, string>>, since: number): void {
    this.#wantedAt = this.#now()
    if (this.#askedAt !== undefined || this.#feltAt >= since) return
    this.#askedAt = this.#wantedAt
    this.#ended = new AbortController()
    void this.#ask(registry, headers, this.#ended.signal)
  }

  /** The registry has answered something. */
  felt(): void {
    this.#feltAt = this.#now()
    if (this.#askedAt === undefined) return
    this.#askedAt = undefined
    this.#ended.abort(new Error('the registry has answered'))
  }

  async #ask(
    { pingUrl: url, dispatcherFor, idleTimeout }: Asked,
    headers: Readonly<Record<string, string>>,
    signal: AbortSignal,
  ): Promise<void> {
    const question = { method: 'GET', url, headers, responseTimeout: rootTimeout, idleTimeout, signal } as const
    try {
      while (!signal.aborted && this.#now() - this.#wantedAt < interestLasts) {
        const began = this.#now()
        const response = await exchangeTrusting(dispatcherFor(url), question).catch(() => undefined)
        if (response !== undefined) this.felt()
        // Where there is no connection it is not silent, but away: others find that out.
        else if (this.#now() - began < rootTimeout) break
      }
    } finally {
      if (!signal.aborted) this.#askedAt = undefined
    }
  }
}
