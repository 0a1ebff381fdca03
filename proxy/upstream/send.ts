import { contentType, isTransient, statusError } from './answers.ts'
import { exchangeTrusting } from './authorities.ts'
import { type Authorizer, notLent } from './authorization.ts'
import { abortedError, isConnectTimeout, isWithoutWay, noAnswerError, reasonOf, TransientError } from './errors.ts'
import { discard, type HttpResponse } from './exchange.ts'
import { type Host, hostAt } from './host.ts'
import { Login } from './login.ts'
import { Pauses } from './pauses.ts'
import { pathAsWritten, redirectTarget, userOf } from './redirect.ts'
import type { Registry, UpstreamLogger } from './registry.ts'
import type { RegistryRequest, RegistryResponse } from './request.ts'
import { retry, type Timing } from './retry.ts'
import { type Access, PatienceExceeded, UpstreamError } from './types.ts'
import { Vigil } from './vigil.ts'

/** As many as Go's HTTP client follows, which most container clients are built on. */
const maxRedirects = 10
const redirectStatuses: ReadonlySet<number> = new Set([301, 302, 303, 307, 308])

/** Attempts of a request that another kind of request follows. */
const tentativeAttempts = 2

/** A wait for a connection is a long one from this share of its time-out on. undici's clock is behind by up to half a second. */
const longShare = 0.5

/** Longest wait for the answer to HEAD, in ms: it moves nothing, and GET follows it. */
const headTimeout = 10_000

/** Sends requests to registries: authenticated, redirected, and repeated while their failure may pass. */
export class Sender {
  readonly #login: Login
  readonly #attempts: number
  readonly #timing: Timing
  readonly #logger: UpstreamLogger
  readonly #registryAt: (origin: string) => Registry | undefined
  readonly #pauses: Pauses

  /** @param registryAt the configured registry with this origin, if there is one */
  constructor(
    authorizer: Authorizer,
    attempts: number,
    timing: Timing,
    logger: UpstreamLogger,
    registryAt: (origin: string) => Registry | undefined,
  ) {
    this.#login = new Login(authorizer, logger)
    this.#attempts = attempts
    this.#timing = timing
    this.#logger = logger
    this.#registryAt = registryAt
    this.#pauses = new Pauses(timing.now)
  }

  /**
   * @returns any answer of the registry except 401, 408, 429 and 5xx, which are thrown when they don't pass
   * @throws {UpstreamError}
   */
  async send(request: RegistryRequest): Promise<RegistryResponse> {
    const { registry, requestor, isTentative = false, signal } = request
    const { breaker } = registry
    if (registry.isPrivate && (requestor.kind === 'anonymous' || requestor.isGuest)) {
      const why = requestor.isGuest ? `, and ${notLent}` : ''
      throw new UpstreamError('unauthorized', `${registry.name} is asked with its client certificate only${why}`)
    }
    // Limits are per account or per address: one client's is not another one's.
    const limited = `${registry.name} ${requestor.key}`
    const pause = this.#pauses.left(limited)
    if (pause > 0) {
      const message = `${registry.name} limits the rate of requests and wants to be left alone for ${Math.ceil(pause / 1000)} s`
      throw new UpstreamError('rate-limited', message)
    }
    if (!(await breaker.admit(signal))) {
      const message = `${registry.name} could not be reached a moment ago; it is asked again in the background`
      throw new UpstreamError('unreachable', message)
    }
    const timing = this.#timing
    const began = timing.now()
    let attemptBegan = began
    const attempts = (error: TransientError) => {
      // Nobody waits for the same time-out twice. Node waits for 250 ms only where a host has several addresses.
      const hasWaited = timing.now() - attemptBegan >= longShare * registry.connectTimeout
      if (hasWaited && isConnectTimeout(error)) return 1
      return isTentative && !isAway(error) ? Math.min(tentativeAttempts, this.#attempts) : this.#attempts
    }
    const vigil = new Vigil(request, timing.now)
    const bounded = { ...request, signal: AbortSignal.any([signal, vigil.signal]) }
    try {
      return await retry({ attempts, timing, signal: bounded.signal }, () => {
        attemptBegan = timing.now()
        return this.#attempt(bounded)
      })
    } catch (failure) {
      const error = vigil.signal.aborted && !signal.aborted ? vigil.error : failure
      if (error instanceof UpstreamError && isSilence(error)) breaker.hung(began, error instanceof TransientError)
      else if (error instanceof UpstreamError && (isAway(error) || (isUnreachable(error) && !isTentative))) {
        if (breaker.failed(began)) {
          const text =
            'a registry can not be reached: what is known is answered, and it is asked again in the background'
          this.#logger.warn({ registry: registry.name, reason: error.message }, text)
        }
      }
      const isLimited = error instanceof TransientError && error.code === 'rate-limited'
      // For a range only, maybe: the request for the whole shows that.
      const isPart = isTentative && request.method === 'GET'
      if (isLimited && error.retryAfter !== undefined && !isPart) {
        this.#pauses.begin(limited, error.retryAfter)
      }
      throw error
    } finally {
      vigil.end()
    }
  }

  async #attempt(request: RegistryRequest): Promise<RegistryResponse> {
    try {
      const response = await this.#followed(request)
      if (!isPage(response) || !(await this.#proves(request))) return await this.#usable(request, response)
      response.body.cancel()
      const again = await this.#followed(request)
      if (isPage(again)) this.#login.provedInVain(this.#ownHost(request), request.requestor)
      return await this.#usable(request, again)
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

  /** Where a page for people comes, they would log in. */
  #proves(request: RegistryRequest): Promise<boolean> {
    const { requestor, signal } = request
    return this.#login.prove({ host: this.#ownHost(request), requestor, signal })
  }

  #ownHost(request: RegistryRequest): Host {
    return this.#hostAt(request, request.registry.endpoint, false)
  }

  #hostAt({ registry, repository, requestor }: RegistryRequest, url: URL, hasLeft: boolean): Host {
    const { isGuest } = requestor
    return hostAt({ url, registry, repository, hasLeft, isGuest, registryAt: this.#registryAt })
  }

  /** One request to the registry, and on to where it sends us; each host is given what is had for that host only. */
  async #followed(request: RegistryRequest): Promise<RegistryResponse> {
    const { registry, what } = request
    let url = urlOf(request)
    let path: string | undefined
    let hasLeft = false
    let access: Access = 'public'
    for (let redirects = 0; redirects <= maxRedirects; redirects++) {
      const host = this.#hostAt(request, url, hasLeft)
      hasLeft ||= host.isElsewhere
      const response = await this.#login.ask(host, request, (authorization) =>
        contact(request, host, { url, path }, authorization),
      )
      access = narrower(access, response.access)
      if (!redirectStatuses.has(response.status)) return { ...response, access }
      await discard(response)
      const location = response.headers.get('location')
      const target = redirectTarget(request, url, location)
      path = pathAsWritten(location)
      url = target
    }
    throw new UpstreamError('broken', `${registry.name} redirects more than ${maxRedirects} times for ${what}`)
  }

  async #usable(request: RegistryRequest, response: RegistryResponse): Promise<RegistryResponse> {
    const { registry, method, what, examine, signal } = request
    const { status, elsewhere } = response
    if (isTransient(status) || (status === 401 && !elsewhere)) {
      throw await statusError(response, registry.name, what, this.#timing.now())
    }
    if (method === 'GET' && isRefusedElsewhere(response)) {
      // A signed URL that expired, most likely: the registry signs another one.
      response.body.cancel()
      throw new TransientError('broken', `the host that ${registry.name} sent us to for ${what} answered ${status}`)
    }
    if (examine === undefined || status < 200 || status > 299) return response
    const found = await examine(response).catch((error: unknown) => {
      if (signal.aborted) throw abortedError(signal)
      if (error instanceof UpstreamError) throw error
      throw new TransientError('broken', `${registry.name} broke off ${what}: ${reasonOf(error)}`, { cause: error })
    })
    if (typeof found !== 'string') return found
    response.body.cancel()
    throw new TransientError('broken', `${registry.name} answered with ${found} for ${what}`)
  }
}

/** A redirect that was given for credentials leads to what is not everybody's, though its target asks for none. */
function narrower(one: Access, other: Access): Access {
  return (['foreign', 'private'] as const).find((access) => one === access || other === access) ?? 'public'
}

/** Whether an answer is a page for people, as of a login, rather than what programs ask for. */
function isPage({ status, headers }: RegistryResponse): boolean {
  return status >= 200 && status <= 299 && contentType(headers) === 'text/html'
}

/** Whether the registry took the request and gave no answer, in its own time or in the caller's. */
function isSilence(error: UpstreamError): boolean {
  return (error instanceof TransientError && error.silence === 'slow') || error.cause instanceof PatienceExceeded
}

function isUnreachable({ code }: UpstreamError): boolean {
  return code === 'unreachable'
}

/** Whether no request gets to the registry, so that another kind of request would not either. */
function isAway(error: UpstreamError): boolean {
  return isUnreachable(error) && !(error instanceof TransientError && error.silence !== undefined)
}

/** Whether the host that the registry sent us to does not let us in, as with a signed URL that is not good (any more). */
export function isRefusedElsewhere({ elsewhere, status }: RegistryResponse): boolean {
  return elsewhere && status >= 400 && status <= 403
}

async function contact(
  request: RegistryRequest,
  host: Host,
  place: { readonly url: URL; readonly path: string | undefined },
  granted: string | undefined,
): Promise<HttpResponse> {
  const { registry, method, headers, what, signal } = request
  const { url, path } = place
  const authorization = granted ?? userOf(url)
  const { responseTimeout, idleTimeout } = registry
  try {
    const response = await exchangeTrusting(host.dispatcherFor(url), {
      method,
      url,
      path,
      headers: authorization === undefined ? headers : { ...headers, authorization },
      responseTimeout: method === 'HEAD' ? Math.min(responseTimeout, headTimeout) : responseTimeout,
      idleTimeout,
      signal,
    })
    if (!host.isElsewhere) registry.breaker.answered()
    return response
  } catch (error) {
    if (signal.aborted) throw abortedError(signal)
    if (!host.isElsewhere) throw noAnswerError(error, registry.name)
    const message = `${registry.name} sent us to ${url.host} for ${what}, and that host failed: ${reasonOf(error)}`
    if (isWithoutWay(error)) throw new UpstreamError('broken', message, { cause: error })
    throw new TransientError('broken', message, { cause: error })
  }
}

function urlOf({ registry, repository, path, query }: RegistryRequest): URL {
  const url = registry.urlOf(repository.name, path)
  if (query !== undefined) url.search = query
  return url
}
