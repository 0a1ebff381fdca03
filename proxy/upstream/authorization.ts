import { createHash } from 'node:crypto'
import { type Challenge, parseChallenges } from './challenge.ts'
import type { CredentialStore } from './credentials.ts'
import { type Credentials, passwordFrom } from './docker-config.ts'
import { abortedError } from './errors.ts'
import type { Host } from './host.ts'
import { Recent } from './recent.ts'
import type { UpstreamLogger } from './registry.ts'
import { RootChallenges } from './root-challenges.ts'
import { basicAuthorization, TokenServices } from './token.ts'
import { UpstreamError, type UpstreamRequest } from './types.ts'

/** On whose behalf a registry is asked. What one was granted is never used for another: the key tells them apart. */
export type Requestor = (
  | { readonly kind: 'node'; readonly key: string }
  /** Nobody in particular. */
  | { readonly kind: 'anonymous'; readonly key: string }
  | { readonly kind: 'client'; readonly key: string; readonly credentials: Credentials }
  /** A client that brought its own token (or a scheme that only it knows), which is sent as it is. */
  | { readonly kind: 'token'; readonly key: string; readonly grant: Grant }
) & {
  /** Whether the node's client certificates are not for it either. */
  readonly isGuest: boolean
}

/** An `Authorization` that a registry is expected to take for one repository. */
export interface Grant {
  readonly authorization: string
  /** Whether somebody's credentials stand behind it. */
  readonly credentialed: boolean
  /** In ms since the epoch. */
  readonly expiresAt: number
}

interface ChallengedRequest {
  readonly host: Host
  readonly requestor: Requestor
  /** The host's `WWW-Authenticate`. */
  readonly challenge: string | undefined
  /** What the host did not take, if something was sent. */
  readonly rejected: Grant | undefined
  readonly signal: AbortSignal
}

/** Pairs of a repository and an identity whose grant is kept; the least recently used go first. */
const maxGrants = 1_000

/** How long Basic is sent without having been asked for again, in ms. A repository may become public. */
const basicLifetime = 300_000

/** How long credentials that opened nothing are not tried again after the same refusal, in ms. */
const inVainLifetime = 60_000

/** Answers registries' challenges and keeps what they granted. */
export class Authorizer {
  readonly #credentials: CredentialStore
  readonly #headers: Readonly<Record<string, string>>
  readonly #now: () => number
  readonly #logger: UpstreamLogger
  readonly #signal: AbortSignal
  readonly #grants = new Map<string, Grant>()
  readonly #flights = new Map<string, Promise<Grant>>()
  readonly #inVain: Recent
  readonly #services: TokenServices
  readonly #roots: RootChallenges

  /**
   * @param headers go with requests for tokens
   * @param signal ends flights, which belong to no single request
   */
  constructor(
    credentials: CredentialStore,
    headers: Readonly<Record<string, string>>,
    now: () => number,
    logger: UpstreamLogger,
    signal: AbortSignal,
  ) {
    this.#credentials = credentials
    this.#headers = headers
    this.#now = now
    this.#logger = logger
    this.#signal = signal
    this.#inVain = new Recent(inVainLifetime, maxGrants, now)
    this.#services = new TokenServices(now)
    this.#roots = new RootChallenges(headers, now)
  }

  /** @param authorization a client's header, if it sent one */
  async requestorOf({
    authorization,
    anonymous = false,
    isGuest = false,
  }: Pick<UpstreamRequest, 'authorization' | 'anonymous' | 'isGuest'>): Promise<Requestor> {
    if (anonymous || (isGuest && authorization === undefined)) return { kind: 'anonymous', key: 'anonymous', isGuest }
    if (authorization === undefined) return { kind: 'node', key: `node ${await this.#credentials.version()}`, isGuest }
    const credentials = passwordOfBasic(authorization)
    const key = createHash('sha256').update(authorization).digest('hex')
    if (credentials !== undefined) return { kind: 'client', key, credentials, isGuest }
    const grant = { authorization, credentialed: true, expiresAt: Number.POSITIVE_INFINITY }
    return { kind: 'token', key, grant, isGuest }
  }

  /** What to send with a request from the start. */
  known(host: Host, requestor: Requestor): Grant | undefined {
    // What a client brought is for the registry that it meant.
    if (requestor.kind === 'token') return host.isElsewhere ? undefined : requestor.grant
    const key = grantKey(host, requestor)
    const grant = this.#grants.get(key)
    this.#grants.delete(key)
    if (grant === undefined || grant.expiresAt <= this.#now()) return undefined
    this.#grants.set(key, grant)
    return grant
  }

  /** A grant is not taken any more. */
  forget(host: Host, requestor: Requestor, grant: Grant): void {
    if (requestor.kind === 'token') return
    const key = grantKey(host, requestor)
    if (this.#grants.get(key)?.authorization === grant.authorization) this.#grants.delete(key)
  }

  /** Whether a challenge is of a kind that can be answered. */
  canAnswer(challenge: string | undefined): boolean {
    return parseChallenges(challenge).some(({ scheme }) => scheme === 'bearer' || scheme === 'basic')
  }

  /** Whether there is something to prove to the host that it has not been told. */
  async hasCredentials(host: Host, requestor: Requestor): Promise<boolean> {
    return (
      requestor.kind !== 'token' && (await this.#credentialsFor({ host, requestor, rejected: undefined })) !== undefined
    )
  }

  /** Whether credentials may be tried after a refusal that may have another reason; not where that was in vain a moment ago. */
  mayTryAgain(host: Host, requestor: Requestor): boolean {
    return !this.#inVain.has(grantKey(host, requestor))
  }

  triedInVain(host: Host, requestor: Requestor): void {
    this.#inVain.set(grantKey(host, requestor), true)
  }

  /** How a host that refuses without a challenge asks for credentials. @throws {UpstreamError} where it does not say */
  challengeOf(host: Host, signal: AbortSignal): Promise<string> {
    return this.#roots.challengeOf(host, signal)
  }

  /**
   * What to send after a challenge. Requests for the same repository on behalf of the same identity share one flight.
   * @throws {UpstreamError}
   */
  answer(request: ChallengedRequest): Promise<Grant> {
    const { host, requestor, rejected, signal } = request
    if (requestor.kind === 'token') {
      return Promise.reject(unauthorized(request, `${host.name} does not take the client's token`))
    }
    const key = grantKey(host, requestor)
    const known = this.#grants.get(key)
    // Another request may have renewed it in the meantime.
    if (known !== undefined && known.authorization !== rejected?.authorization) return Promise.resolve(known)
    this.#grants.delete(key)
    let flight = this.#flights.get(key)
    if (flight === undefined) {
      flight = this.#obtain(request)
        .then((grant) => this.#keep(key, grant))
        .finally(() => this.#flights.delete(key))
      this.#flights.set(key, flight)
    }
    return withSignal(flight, signal)
  }

  async #obtain(request: ChallengedRequest): Promise<Grant> {
    const { host, rejected } = request
    const challenges = parseChallenges(request.challenge)
    const credentials = await this.#credentialsFor(request)
    const bearer = challenges.find(({ scheme }) => scheme === 'bearer')
    const offersBasic = challenges.some(({ scheme }) => scheme === 'basic')
    if (bearer !== undefined) {
      try {
        return await this.#obtainToken(request, bearer, credentials)
      } catch (error) {
        // A password that was refused is not shown a second time.
        const isRefused = error instanceof UpstreamError && ['unauthorized', 'denied', 'aborted'].includes(error.code)
        if (!offersBasic || isRefused || credentials?.kind !== 'password' || rejected !== undefined) throw error
      }
    }
    if (!offersBasic) {
      throw unauthorized(request, `${host.name} asks for authentication in a way that layerd does not know`)
    }
    if (credentials?.kind !== 'password') {
      const none = request.requestor.isGuest ? notLent : 'layerd has none for it'
      throw unauthorized(request, `${host.name} wants a user name and password, and ${none}`)
    }
    const authorization = basicAuthorization(credentials)
    if (authorization === rejected?.authorization) throw notTaken(request)
    return { authorization, credentialed: true, expiresAt: this.#now() + basicLifetime }
  }

  async #obtainToken(
    request: ChallengedRequest,
    challenge: Challenge,
    credentials: Credentials | undefined,
  ): Promise<Grant> {
    const token = async (shown: Credentials | undefined): Promise<Grant> => {
      const { value, expiresAt } = await this.#services.request(request.host, {
        challenge,
        scope: `repository:${request.host.repository}:pull`,
        credentials: shown,
        headers: this.#headers,
        now: this.#now,
        signal: this.#signal,
      })
      return { authorization: `Bearer ${value}`, credentialed: shown !== undefined, expiresAt }
    }
    try {
      return await token(credentials)
    } catch (error) {
      if (!(error instanceof UpstreamError)) throw error
      const isNodes = request.requestor.kind === 'node' && credentials !== undefined
      if (isNodes && (error.code === 'unauthorized' || error.code === 'denied')) {
        // What the node has may be out of date, and a client that has nothing gets what is public.
        const anonymous = await token(undefined).catch(() => undefined)
        if (anonymous !== undefined) {
          const { name } = request.host
          this.#logger.warn({ registry: name, reason: error.message }, 'credentials are refused; going on without them')
          return anonymous
        }
      }
      // What a token service says no to is who asks. The registry's challenge tells a client how to say that.
      if (error.code === 'unauthorized' || error.code === 'denied') throw unauthorized(request, error.message)
      // It is the token service that has not found something, and not the registry.
      if (error.code === 'not-found') throw new UpstreamError('broken', error.message)
      // A token service that layerd does not trust with credentials is the client's to trust.
      if (error.code === 'refused') throw new UpstreamError('refused', error.message, { challenge: request.challenge })
      throw error
    }
  }

  async #credentialsFor({
    host,
    requestor,
    rejected,
  }: Pick<ChallengedRequest, 'host' | 'requestor' | 'rejected'>): Promise<Credentials | undefined> {
    if (requestor.kind === 'client') return host.isElsewhere ? undefined : requestor.credentials
    if (requestor.kind !== 'node' || !host.isProven) return undefined
    return await this.#credentials.find(host, rejected !== undefined)
  }

  #keep(key: string, grant: Grant): Grant {
    this.#grants.set(key, grant)
    const oldest = this.#grants.keys().next()
    if (this.#grants.size > maxGrants && oldest.done !== true) this.#grants.delete(oldest.value)
    return grant
  }
}

/** Why a client is not served with what the node has. */
export const notLent = 'what this node has for it is not for this client (registry.lendCredentials)'

function grantKey(host: Host, requestor: { readonly key: string }): string {
  return `${host.name} ${host.endpoint.origin} ${host.repository} ${requestor.key}`
}

/** The error where a host does not take the password that it has asked for. */
export function notTaken(request: Pick<ChallengedRequest, 'host' | 'challenge'>): UpstreamError {
  const { name, repository } = request.host
  return unauthorized(request, `${name} does not take this user name and password for ${repository}`)
}

function unauthorized({ challenge }: Pick<ChallengedRequest, 'challenge'>, message: string): UpstreamError {
  return new UpstreamError('unauthorized', message, { challenge })
}

function passwordOfBasic(authorization: string): Credentials | undefined {
  const encoded = /^basic +([\w+/=-]+) *$/i.exec(authorization)?.[1]
  return encoded === undefined ? undefined : passwordFrom(Buffer.from(encoded, 'base64').toString('utf8'))
}

/** Waits for something that others wait for too: the signal ends the waiting only. */
async function withSignal<T>(shared: Promise<T>, signal: AbortSignal): Promise<T> {
  // Its other waiters may have gone as well; nobody is left to hear of a failure then.
  shared.catch(() => undefined)
  if (signal.aborted) throw abortedError(signal)
  const { promise, reject } = Promise.withResolvers<never>()
  const onAbort = (): void => reject(abortedError(signal))
  signal.addEventListener('abort', onAbort, { once: true })
  try {
    return await Promise.race([shared, promise])
  } finally {
    signal.removeEventListener('abort', onAbort)
  }
}
