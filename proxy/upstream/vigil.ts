import type { RegistryRequest } from './request.ts'
import { PatienceExceeded, UpstreamError } from './types.ts'

/** After how long without any answer the registry is asked for a sign of life, in ms. */
const doubtAfter = 2_000

/** How long a request waits for a registry that is known to answer nobody, in ms. */
const hangPatience = 5_000

/** How often it is looked whether it is known, in ms. */
const lookEvery = 500

/**
 * Waits beside a request. The first request that a registry leaves without an answer waits for as long as it may, since some answers take a
 * minute. Once one has waited in vain, and the root of the API does not answer either, no other waits for that long.
 */
export class Vigil {
  readonly #limit = new AbortController()
  readonly #request: RegistryRequest
  readonly #began: number
  readonly #now: () => number
  #timer: NodeJS.Timeout

  constructor(request: RegistryRequest, now: () => number) {
    this.#request = request
    this.#now = now
    this.#began = now()
    this.#timer = setTimeout(() => this.#look(), doubtAfter)
  }

  /** Aborted where the wait is in vain. */
  get signal(): AbortSignal {
    return this.#limit.signal
  }

  /** What the request ends with then. */
  get error(): UpstreamError {
    const message = `${this.#request.registry.name} cannot be reached: it takes requests and answers none`
    return new UpstreamError('unreachable', message, { cause: this.#limit.signal.reason })
  }

  end(): void {
    clearTimeout(this.#timer)
  }

  #look(): void {
    const { registry, headers, insists = false } = this.#request
    const { 'user-agent': userAgent = '' } = headers
    const { breaker } = registry
    const hasWaited = this.#now() - this.#began >= hangPatience
    breaker.pulse.doubt(registry, { 'user-agent': userAgent }, this.#began)
    if (hasWaited && breaker.isDumb && !insists) this.#limit.abort(new PatienceExceeded(hangPatience))
    else this.#timer = setTimeout(() => this.#look(), lookEvery)
  }
}
