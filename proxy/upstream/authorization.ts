import { createHash } from 'node:crypto'
import type { Repository } from '../oci/name.ts'
import { parseChallenges } from './challenge.ts'
import type { CredentialStore } from './credentials.ts'
import { type Credentials, passwordFrom } from './docker-config.ts'
import { abortedError } from './errors.ts'
import type { Registry } from './registry.ts'
import { basicAuthorization, requestToken } from './token.ts'
import { UpstreamError, type UpstreamRequest } from './types.ts'

/** On whose behalf a registry is asked. What one was granted is never used for another: the key tells them apart. */
export type Requestor =
  | { readonly kind: 'node'; readonly key: string }
  /** Nobody in particular. */
  | { readonly kind: 'anonymous'; readonly key: string }
  | { readonly kind: 'client'; readonly key: string; readonly credentials: Credentials }
  /** A client that brought its own token (or a scheme that only it knows), which is sent as it is. */
  | { readonly kind: 'token'; readonly grant: Grant }

/** An `Authorization` that a registry is expected to take for one repository. */
export interface Grant {
  readonly authorization: string
  /** Whether somebody's credentials stand behind it. */
  readonly credentialed: boolean
  /** In ms since the epoch. */
  readonly expiresAt: number
}

export interface ChallengedRequest {
  readonly registry: Registry
  readonly requestor: Requestor
  readonly repository: Repository
  /** The registry's `WWW-Authenticate`. */
  readonly challenge: string | undefined
  /** What the registry did not take, if something was sent. */
  readonly rejected: Grant | undefined
  readonly signal: AbortSignal
}

/** Pairs of a repository and an identity whose grant is kept; the least recently used go first. */
const maxGrants = 1_000

/** How long Basic is sent without having been asked for again, in ms. A repository may become public. */
const basicLifetime = 300_000

/** Answers registries' challenges and keeps what they granted. */
export class Authorizer {
  readonly #credentials: CredentialStore
  readonly #headers: Readonly<Record<string, string>>
  readonly #now: () => number
  readonly #signal: AbortSignal
  readonly #grants = new Map<string, Grant>()
  readonly #flights = new Map<string, Promise<Grant>>()

  /**
   * @param headers go with requests for tokens
   * @param signal ends flights, which belong to no single request
   */
  constructor(
    credentials: CredentialStore,
    headers: Readonly<Record<string, string>>,
    now: () => number,
    signal: AbortSignal,
  ) {
    this.#credentials = credentials
    this.#headers = headers
    this.#now = now
    this.#signal = signal
  }

  /** @param authorization a client's header, if it sent one */
  async requestorOf({
    authorization,
    anonymous = false,
  }: Pick<UpstreamRequest, 'authorization' | 'anonymous'>): Promise<Requestor> {
    if (anonymous) return { kind: 'anonymous', key: 'anonymous' }
    if (authorization === undefined) return { kind: 'node', key: `node ${await this.#credentials.version()}` }
    const credentials = passwordOfBasic(authorization)
    if (credentials === undefined) {
      return { kind: 'token', grant: { authorization, credentialed: true, expiresAt: Number.POSITIVE_INFINITY } }
    }
    return { kind: 'client', key: createHash('sha256').update(authorization).digest('hex'), credentials }
  }

  /** What to send with a request from the start. */
  known(registry: Registry, requestor: Requestor, repository: Repository): Grant | undefined {
    if (requestor.kind === 'token') return requestor.grant
    const key = grantKey(registry, requestor, repository)
    const grant = this.#grants.get(key)
    this.#grants.delete(key)
    if (grant === undefined || grant.expiresAt <= this.#now()) return undefined
    this.#grants.set(key, grant)
    return grant
  }

  /**
   * What to send after a 401. Requests for the same repository on behalf of the same identity share one flight.
   * @throws {UpstreamError}
   */
  answer(request: ChallengedRequest): Promise<Grant> {
    const { registry, requestor, repository, rejected, signal } = request
    if (requestor.kind === 'token') {
      return Promise.reject(unauthorized(request, `${registry.name} does not take the client's token`))
    }
    const key = grantKey(registry, requestor, repository)
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
    const { registry, repository, rejected } = request
    const challenges = parseChallenges(request.challenge)
    const credentials = await this.#credentialsFor(request)
    const bearer = challenges.find(({ scheme }) => scheme === 'bearer')
    if (bearer !== undefined) {
      const { value, expiresAt } = await requestToken(registry, {
        challenge: bearer,
        scope: `repository:${repository.name}:pull`,
        credentials,
        headers: this.#headers,
        now: this.#now,
        signal: this.#signal,
      }).catch((error: UpstreamError) => {
        // What a token service says no to is who asks. The registry's challenge tells a client how to say that.
        throw ['unauthorized', 'denied'].includes(error.code) ? unauthorized(request, error.message) : error
      })
      return { authorization: `Bearer ${value}`, credentialed: credentials !== undefined, expiresAt }
    }
    if (!challenges.some(({ scheme }) => scheme === 'basic')) {
      throw unauthorized(request, `${registry.name} asks for authentication in a way that layerd does not know`)
    }
    if (credentials?.kind !== 'password') {
      throw unauthorized(request, `${registry.name} wants a user name and password, and layerd has none for it`)
    }
    const authorization = basicAuthorization(credentials)
    if (authorization === rejected?.authorization) {
      throw unauthorized(request, `${registry.name} does not take this user name and password for ${repository.name}`)
    }
    return { authorization, credentialed: true, expiresAt: this.#now() + basicLifetime }
  }

  async #credentialsFor({ registry, requestor, rejected }: ChallengedRequest): Promise<Credentials | undefined> {
    if (requestor.kind === 'client') return requestor.credentials
    return requestor.kind === 'node' ? await this.#credentials.find(registry, rejected !== undefined) : undefined
  }

  #keep(key: string, grant: Grant): Grant {
    this.#grants.set(key, grant)
    const oldest = this.#grants.keys().next()
    if (this.#grants.size > maxGrants && oldest.done !== true) this.#grants.delete(oldest.value)
    return grant
  }
}

function grantKey(registry: Registry, requestor: { readonly key: string }, repository: Repository): string {
  return `${registry.name} ${repository.name} ${requestor.key}`
}

function unauthorized({ challenge }: ChallengedRequest, message: string): UpstreamError {
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
