import type { Repository } from '../oci/name.ts'
import { isTransient, statusError } from './answers.ts'
import type { Authorizer, Grant, Requestor } from './authorization.ts'
import { abortedError, noAnswerError, reasonOf, TransientError } from './errors.ts'
import { discard, exchange, type HttpResponse } from './exchange.ts'
import { Pauses } from './pauses.ts'
import type { Registry, UpstreamLogger } from './registry.ts'
import { retry, type Timing } from './retry.ts'
import { type Access, PatienceExceeded, UpstreamError } from './types.ts'

export interface RegistryRequest {
  readonly registry: Registry
  readonly requestor: Requestor
  readonly repository: Repository
  readonly method: 'GET' | 'HEAD'
  /** Below `/v2/<name>/`, such as `tags/list`. */
  readonly path: string
  readonly query?: URLSearchParams | undefined
  readonly headers: Readonly<Record<string, string>>
  /** What is asked for, in words for a person. */
  readonly what: string
  /** Says what is wrong with an answer of status 2xx that can't be used; another attempt may bring a better one. */
  readonly findDefect?: ((response: HttpResponse) => string | undefined) | undefined
  readonly signal: AbortSignal
}

export interface RegistryResponse extends HttpResponse {
  readonly access: Access
  /** The registry sent us to another host, and this is that host's answer. */
  readonly elsewhere: boolean
}

const maxRedirects = 5
const redirectStatuses: ReadonlySet<number> = new Set([301, 302, 303, 307, 308])

/** Sends requests to registries: authenticated, redirected, and repeated while their failure may pass. */
export class Sender {
  readonly #authorizer: Authorizer
  readonly #attempts: number
  readonly #timing: Timing
  readonly #logger: UpstreamLogger
  readonly #pauses: Pauses

  constructor(authorizer: Authorizer, attempts: number, timing: Timing, logger: UpstreamLogger) {
    this.#authorizer = authorizer
    this.#attempts = attempts
    this.#timing = timing
    this.#logger = logger
    this.#pauses = new Pauses(timing.now)
  }

  /**
   * @returns any answer of the registry except 401, 408, 429 and 5xx, which are thrown when they don't pass
   * @throws {UpstreamError}
   */
  async send(request: RegistryRequest): Promise<RegistryResponse> {
    const { registry, requestor, signal } = request
    const { breaker } = registry
    if (registry.isPrivate && requestor.kind === 'anonymous') {
      throw new UpstreamError('unauthorized', `${registry.name} is asked with its client certificate only`)
    }
    // Limits are per account or per address: one client's is not another one's.
    const limited = `${registry.name} ${requestor.kind === 'token' ? requestor.grant.authorization : requestor.key}`
    const pause = this.#pauses.left(limited)
    if (pause > 0) {
      const message = `${registry.name} limits the rate of requests and wants to be left alone for ${Math.ceil(pause / 1000)} s`
      throw new UpstreamError('rate-limited', message)
    }
    const admission = breaker.admit()
    if (admission === 'refused') {
      const message = `${registry.name} could not be reached a moment ago and is left alone for some seconds`
      throw new UpstreamError('unreachable', message)
    }
    const timing = this.#timing
    const began = timing.now()
    try {
      return await retry({ attempts: admission === 'probe' ? 1 : this.#attempts, timing, signal }, () =>
        this.#attempt(request),
      )
    } catch (error) {
      if (error instanceof UpstreamError && isSilence(error)) breaker.failed(began)
      if (error instanceof TransientError && error.code === 'rate-limited' && error.retryAfter !== undefined) {
        this.#pauses.begin(limited, error.retryAfter)
      }
      throw error
    } finally {
      if (admission === 'probe') breaker.endProbe()
    }
  }

  async #attempt(request: RegistryRequest): Promise<RegistryResponse> {
    try {
      return await this.#authenticated(request)
    } catch (error) {
      if (error instanceof TransientError) {
        this.#logger.debug(
          { registry: request.registry.name, code: error.code, reason: error.message },
          'upstream failed',
        )
      }
      throw error
    }
  }

  async #authenticated(request: RegistryRequest): Promise<RegistryResponse> {
    const { registry, requestor, repository, signal } = request
    const known = this.#authorizer.known(registry, requestor, repository)
    const first = await follow(request, known)
    if (first.status !== 401 || first.elsewhere) return this.#usable(request, first)
    const challenge = first.headers.get('www-authenticate')
    await discard(first)
    const grant = await this.#authorizer.answer({
      registry,
      requestor,
      repository,
      challenge,
      rejected: known,
      signal,
    })
    return this.#usable(request, await follow(request, grant))
  }

  async #usable(request: RegistryRequest, response: RegistryResponse): Promise<RegistryResponse> {
    const { registry, method, what, findDefect } = request
    const { status, elsewhere } = response
    if (isTransient(status) || (status === 401 && !elsewhere)) {
      throw await statusError(response, registry.name, what, this.#timing.now())
    }
    if (method === 'GET' && isRefusedElsewhere(response)) {
      // A signed URL that expired, most likely: the registry signs another one.
      response.body.cancel()
      throw new TransientError('broken', `the host that ${registry.name} sent us to for ${what} answered ${status}`)
    }
    const defect = status >= 200 && status < 300 ? findDefect?.(response) : undefined
    if (defect === undefined) return response
    response.body.cancel()
    throw new TransientError('broken', `${registry.name} answered with ${defect} for ${what}`)
  }
}

/** Whether the registry gave no answer, in its own time or in the caller's. */
function isSilence({ code, cause }: UpstreamError): boolean {
  return code === 'unreachable' || (code === 'aborted' && cause instanceof PatienceExceeded)
}

/** Whether the host that the registry sent us to does not let us in, as with a signed URL that is not good (any more). */
export function isRefusedElsewhere({ elsewhere, status }: RegistryResponse): boolean {
  return elsewhere && status >= 400 && status <= 403
}

/** One request to the registry, and on to where it sends us. The grant is for the registry's own origin only. */
async function follow(request: RegistryRequest, grant: Grant | undefined): Promise<RegistryResponse> {
  const { registry, what } = request
  let url = urlOf(request)
  let authorization = grant?.authorization
  for (let redirects = 0; redirects <= maxRedirects; redirects++) {
    const elsewhere = url.origin !== registry.endpoint.origin
    // Nor does it come back when a foreign host sends us back.
    if (elsewhere) authorization = undefined
    const response = await contact(request, url, authorization)
    if (!elsewhere) registry.breaker.answered()
    if (!redirectStatuses.has(response.status)) {
      return {
        ...response,
        access: grant?.credentialed === true || registry.isPrivate ? 'private' : 'public',
        elsewhere,
      }
    }
    await discard(response)
    url = redirectTarget(registry, url, response.headers.get('location'), what)
  }
  throw new UpstreamError('broken', `${registry.name} redirects more than ${maxRedirects} times for ${what}`)
}

async function contact(
  { registry, method, headers, what, signal }: RegistryRequest,
  url: URL,
  authorization: string | undefined,
): Promise<HttpResponse> {
  const { responseTimeout, idleTimeout } = registry
  try {
    return await exchange(registry.dispatcherFor(url), {
      method,
      url,
      headers: authorization === undefined ? headers : { ...headers, authorization },
      responseTimeout,
      idleTimeout,
      signal,
    })
  } catch (error) {
    if (signal.aborted) throw abortedError(signal)
    if (url.origin === registry.endpoint.origin) throw noAnswerError(error, registry.name)
    const message = `${registry.name} sent us to ${url.host} for ${what}, and that host failed: ${reasonOf(error)}`
    throw new TransientError('broken', message, { cause: error })
  }
}

function urlOf({ registry, repository, path, query }: RegistryRequest): URL {
  const url = registry.urlOf(repository.name, path)
  if (query !== undefined) url.search = query.toString()
  return url
}

function redirectTarget(registry: Registry, from: URL, location: string | undefined, what: string): URL {
  const target = location !== undefined && URL.canParse(location, from.href) ? new URL(location, from) : undefined
  if (target === undefined || !['http:', 'https:'].includes(target.protocol)) {
    throw new UpstreamError('broken', `${registry.name} redirects to no usable address for ${what}`)
  }
  if (target.protocol === 'http:' && registry.endpoint.protocol === 'https:') {
    const message = `${registry.name} redirects to ${target.host} without encryption for ${what}, which is not followed`
    throw new UpstreamError('broken', message)
  }
  return target
}
