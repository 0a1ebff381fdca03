import { statusError } from './answers.ts'
import { exchangeTrusting } from './authorities.ts'
import type { Challenge } from './challenge.ts'
import type { Credentials } from './docker-config.ts'
import { codingsOf, decoded } from './encoding.ts'
import { noAnswerError, TransientError } from './errors.ts'
import { discard, type HttpRequest, type HttpResponse, readAll } from './exchange.ts'
import type { Host } from './host.ts'
import { checkRealm } from './realm.ts'
import { Recent } from './recent.ts'
import { UpstreamError } from './types.ts'

export interface Token {
  readonly value: string
  /** Until when it may be used, in ms since the epoch. */
  readonly expiresAt: number
}

interface TokenRequest {
  /** A Bearer challenge of the registry. */
  readonly challenge: Challenge
  /** Asked for beside what the challenge names. */
  readonly scope: string
  readonly credentials: Credentials | undefined
  readonly headers: Readonly<Record<string, string>>
  readonly now: () => number
  /** Longest wait for an answer, in ms. */
  readonly patience: number
  readonly signal: AbortSignal
}

/** distribution, "Token Authentication": a token without `expires_in` lives for 60 s. */
const defaultLifetime = 60_000

/** Credentials that were withdrawn open nothing for longer than this, in ms. */
const maxLifetime = 3_600_000

/** A token is not used in its last moments, in ms: the request has a way to go. */
const lifetimeSlack = 10_000

/** Larger ones don't fit into a request's headers anyway. */
const maxTokenBytes = 64 * 1024

const clientId = 'layerd'

/** Token services move, and clients follow them. */
const maxRedirects = 10

/** How long it is remembered that a token service left a question without an answer, in ms. */
const silenceLasts = 30_000

/** How long such a service is waited for meanwhile, in ms. */
const silentPatience = 5_000

/** Token services of which that is remembered; the oldest are forgotten. */
const maxServices = 1_000

/** The token services that challenges name. One that hangs is waited for as long as a registry is once, and less for a while after that. */
export class TokenServices {
  readonly #silent: Recent

  constructor(now: () => number) {
    this.#silent = new Recent(silenceLasts, maxServices, now)
  }

  /** As {@link requestToken}. @throws {UpstreamError} */
  async request(host: Host, request: Omit<TokenRequest, 'patience'>): Promise<Token> {
    const service = request.challenge.params.get('realm') ?? host.name
    const patience = this.#silent.has(service) ? silentPatience : host.via.responseTimeout
    try {
      return await requestToken(host, { ...request, patience: Math.min(patience, host.via.responseTimeout) })
    } catch (error) {
      if (error instanceof TransientError && error.silence === 'slow') this.#silent.set(service, true)
      throw error
    }
  }
}

/**
 * Gets a token from the token service that a challenge names (distribution, "Token Authentication" and "OAuth2 Token
 * Authentication"). A redirect is followed only to where the challenge could have sent us as well: it carries credentials.
 * @throws {UpstreamError}
 */
async function requestToken(host: Host, request: TokenRequest): Promise<Token> {
  const { challenge, now, patience: responseTimeout, signal } = request
  const allowed = (realm: string | undefined) => checkRealm(realm, host.name, host.endpoint, host.authRealms)
  // Some challenges name a placeholder, or nothing of what was asked for: clients always add their own.
  const named = challenge.params.get('scope')?.split(/ +/) ?? []
  const scope = [...new Set([...named, request.scope])].filter((one) => one !== '').join(' ')
  const who = `the token service of ${host.name}`
  const requestedAt = now()
  const { idleTimeout } = host.via
  let message = tokenMessage(allowed(challenge.params.get('realm')), scope, request)
  let { url } = message
  for (let redirects = 0; redirects <= maxRedirects; redirects++) {
    const response = await exchangeTrusting(host.dispatcherFor(url), {
      ...message,
      url,
      responseTimeout,
      idleTimeout,
      signal,
    }).catch((error: unknown) => {
      throw noAnswerError(error, who)
    })
    const byPost = passwordMessage({ ...message, url }, scope, request)
    if ((response.status === 404 || response.status === 405) && byPost !== undefined) {
      // There are services that know OAuth2 only.
      await discard(response)
      message = byPost
      url = byPost.url
      continue
    }
    const location = response.headers.get('location')
    if (response.status < 300 || response.status > 399 || location === undefined || message.method !== 'GET') {
      if (response.status < 200 || response.status > 299) {
        throw await statusError(response, who, `a token for ${scope}`, now())
      }
      const token = parseToken(await textOf(response), requestedAt)
      if (token === undefined) throw new UpstreamError('broken', `${who} answered without a token that can be used`)
      return token
    }
    await discard(response)
    url = allowed(URL.canParse(location, url.href) ? new URL(location, url).href : undefined)
  }
  throw new UpstreamError('broken', `${who} redirects more than ${maxRedirects} times`)
}

function tokenMessage(
  realm: URL,
  scope: string,
  { challenge, credentials, headers }: TokenRequest,
): Pick<HttpRequest, 'method' | 'url' | 'headers' | 'body'> {
  const service = challenge.params.get('service')
  const fields = new URLSearchParams(service === undefined ? {} : { service })
  if (credentials?.kind === 'identity-token') {
    fields.set('scope', scope)
    fields.set('grant_type', 'refresh_token')
    fields.set('client_id', clientId)
    fields.set('refresh_token', credentials.token)
    const form = { 'content-type': 'application/x-www-form-urlencoded' }
    return { method: 'POST', url: realm, headers: { ...headers, ...form }, body: fields.toString() }
  }
  // A scope for each resource: a token service takes several in one for a name with blanks.
  for (const one of scope.split(' ')) fields.append('scope', one)
  const url = new URL(realm)
  for (const name of ['service', 'scope']) if (fields.has(name)) url.searchParams.delete(name)
  for (const [name, value] of fields) url.searchParams.append(name, value)
  const authorization = credentials === undefined ? {} : { authorization: basicAuthorization(credentials) }
  return { method: 'GET', url, headers: { ...headers, ...authorization } }
}

/** The same by POST with a password, for what was asked by GET; undefined where it was not, or there is no password. */
function passwordMessage(
  { method, url }: Pick<HttpRequest, 'method' | 'url'>,
  scope: string,
  { challenge, credentials, headers }: TokenRequest,
): Pick<HttpRequest, 'method' | 'url' | 'headers' | 'body'> | undefined {
  if (method !== 'GET' || credentials?.kind !== 'password') return undefined
  const { username, password } = credentials
  const service = challenge.params.get('service')
  const fields = { grant_type: 'password', client_id: clientId, username, password, scope, ...(service && { service }) }
  const form = { 'content-type': 'application/x-www-form-urlencoded' }
  const bare = new URL(url)
  for (const name of ['service', 'scope']) bare.searchParams.delete(name)
  return { method: 'POST', url: bare, headers: { ...headers, ...form }, body: new URLSearchParams(fields).toString() }
}

/** The `Authorization` of RFC 7617. */
export function basicAuthorization(credentials: Extract<Credentials, { kind: 'password' }>): string {
  return `Basic ${Buffer.from(`${credentials.username}:${credentials.password}`).toString('base64')}`
}

async function textOf(response: HttpResponse): Promise<string> {
  try {
    const codings = codingsOf(response.headers)
    const body = codings.length > 0 ? decoded(response.body, codings) : response.body
    return (await readAll(body, maxTokenBytes))?.toString('utf8') ?? ''
  } catch {
    return ''
  }
}

/**
 * Reads a token service's answer.
 * @param requestedAt in ms since the epoch
 * @returns undefined where it holds no token that fits into a header
 */
export function parseToken(text: string, requestedAt: number): Token | undefined {
  let answer: Record<string, unknown>
  try {
    answer = (JSON.parse(text) ?? {}) as Record<string, unknown>
  } catch {
    return undefined
  }
  const value = [answer.token, answer.access_token].find((one) => typeof one === 'string' && one !== '')
  if (typeof value !== 'string' || !/^[\x21-\x7e]+$/.test(value)) return undefined
  const { expires_in: expiresIn, issued_at: issuedAt } = answer
  const lifetime = typeof expiresIn === 'number' && expiresIn > 0 ? expiresIn * 1000 : defaultLifetime
  // A service may hand out a token that it issued some time ago. Clocks differ, so an age that can't be is ignored.
  const age = typeof issuedAt === 'string' ? requestedAt - Date.parse(issuedAt) : 0
  const left = age > 0 && age < lifetime ? lifetime - age : lifetime
  return { value, expiresAt: requestedAt + Math.min(left - Math.min(lifetimeSlack, left / 5), maxLifetime) }
}
