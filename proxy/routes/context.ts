import type { ParameterizedContext } from 'koa'
import { OciError } from '../oci/errors.ts'
import type { Repository } from '../oci/name.ts'
import type { ContentOrigin, PushRequest } from '../ports.ts'
import type { Readers } from '../readers.ts'
import { type Address, type Names, parsePushName, parseRepository } from './addressing.ts'
import { isContainerEngine, isOfPush } from './engines.ts'

/** What the log line of a request says beyond method, status and time. */
export interface RequestFacts {
  repository?: Repository
  reference?: string
  source?: ContentOrigin
  /** Bytes of the body given to the client. */
  bytes: number
  /** Set where upstream could not be asked: of which time the answer is, in ms since the epoch. */
  confirmedAt?: number
  /** Why the request could not be answered as asked, or not to the end. */
  error?: string
}

export interface RegistryState {
  facts: RequestFacts
  /** Aborted when the client is gone. */
  signal: AbortSignal
  /** Whether nothing of the node's own may be used for the client. */
  isGuest: boolean
  /** Those who are sent a body. */
  readers: Readers
}

export type RegistryContext = ParameterizedContext<RegistryState> & { captures?: string[] }

/** What every resource of the API begins with: whom the request is about and for whom. */
export interface Target {
  readonly repository: Repository
  /** What stands behind the resource's name in the path, not decoded. */
  readonly reference: string
  readonly authorization: string | undefined
  readonly isGuest: boolean
  readonly signal: AbortSignal
  /** As in {@link ContentRequest}. */
  readonly mayBeLocal: boolean
  /** As in {@link ContentRequest}. */
  readonly isEngine: boolean
  /** As in {@link ContentRequest}. */
  readonly isPushCheck: boolean
}

/** Credentials of clients are passed on, not read; a header larger than this is none. */
const maxAuthorizationLength = 16 * 1024

/** Reads the target from a route's captures: the repository path, and the reference where there is one. */
export function parseTarget(ctx: RegistryContext, names: Names): Target {
  const address = addressOf(ctx)
  const { reference } = address
  const { repository, mayBeLocal } = parseRepository(address, names)
  noteFacts(ctx, repository, reference)
  if (address.namespace !== undefined) ctx.set('OCI-Namespace', repository.registry)
  const { signal, isGuest } = ctx.state
  const userAgent = ctx.get('user-agent')
  const isEngine = isContainerEngine(userAgent)
  const isPushCheck = ctx.method === 'HEAD' && isOfPush(ctx.get('accept'), userAgent)
  const client = { authorization: authorizationOf(ctx), isGuest, isEngine, isPushCheck }
  return { repository, reference, ...client, signal, mayBeLocal }
}

/** What a push, or a deletion, begins with. */
export interface PushTarget extends PushRequest {
  readonly reference: string
  /** `/v2/` and the repository, as the client has written it. */
  readonly base: string
}

/** As `parseTarget`, for what changes a local repository. @throws {OciError} where the name is none of those */
export function parsePushTarget(ctx: RegistryContext, names: Names): PushTarget {
  const address = addressOf(ctx)
  const { reference } = address
  const name = parsePushName(address, names)
  noteFacts(ctx, { registry: names.local.registry, name }, reference)
  if (address.namespace !== undefined) ctx.set('OCI-Namespace', names.local.registry)
  const { signal, isGuest } = ctx.state
  return { name, reference, base: `/v2/${address.path}`, authorization: authorizationOf(ctx), isGuest, signal }
}

function addressOf(ctx: RegistryContext): Address & { readonly reference: string } {
  const [path = '', reference = ''] = ctx.captures ?? []
  const host = ctx.get('host')
  return {
    path,
    namespace: singleParameter(ctx, 'ns'),
    host: host === '' ? undefined : host,
    port: ctx.req.socket.localPort,
    reference: decodedReference(reference),
    isHead: ctx.method === 'HEAD',
  }
}

function noteFacts({ state: { facts } }: RegistryContext, repository: Repository, reference: string): void {
  facts.repository = repository
  if (reference !== '') facts.reference = reference
}

/**
 * The client's `Authorization`, if it says who the client is.
 * @throws {OciError} with status 431 where it is too long
 */
export function authorizationOf(ctx: Pick<RegistryContext, 'get'>): string | undefined {
  const authorization = ctx.get('authorization')
  if (authorization.length > maxAuthorizationLength) {
    throw new OciError('UNKNOWN', `the Authorization header has more than ${maxAuthorizationLength} bytes`, {
      status: 431,
    })
  }
  return authorization === '' || isNobody(authorization) ? undefined : authorization
}

/** Basic without a user name (RFC 7617, 2). podman and skopeo answer a challenge so when their user gave no credentials. */
function isNobody(authorization: string): boolean {
  const encoded = /^basic(?: +(\S*))?$/i.exec(authorization.trim())
  if (encoded === null) return false
  const text = Buffer.from(encoded[1] ?? '', 'base64').toString('utf8')
  return text === '' || text.startsWith(':')
}

/** Some clients write the colon of a digest as `%3A`. */
function decodedReference(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

/** @throws {OciError} where it is given with several values */
export function singleParameter(ctx: RegistryContext, name: string): string | undefined {
  const value = ctx.query[name]
  if (Array.isArray(value) && value.every((one) => one === value[0])) return value[0] === '' ? undefined : value[0]
  if (Array.isArray(value)) throw new OciError('NAME_INVALID', `the parameter ${name} is given more than once`)
  return value === '' ? undefined : value
}
