import type { ParameterizedContext } from 'koa'
import type { KnownRegistries } from '../known-registries.ts'
import { OciError } from '../oci/errors.ts'
import type { Repository } from '../oci/name.ts'
import type { ContentOrigin } from '../ports.ts'
import { parseRepository } from './addressing.ts'

/** What the log line of a request says beyond method, status and time. */
export interface RequestFacts {
  repository?: Repository
  reference?: string
  source?: ContentOrigin
  /** Bytes of the body given to the client. */
  bytes: number
  /** Why the request could not be answered as asked, or not to the end. */
  error?: string
}

export interface RegistryState {
  facts: RequestFacts
  /** Aborted when the client is gone. */
  signal: AbortSignal
}

export type RegistryContext = ParameterizedContext<RegistryState> & { captures?: string[] }

/** What every resource of the API begins with: whom the request is about and for whom. */
export interface Target {
  readonly repository: Repository
  /** What stands behind the resource's name in the path, not decoded. */
  readonly reference: string
  readonly authorization: string | undefined
  readonly signal: AbortSignal
}

/** Credentials of clients are passed on, not read; a header larger than this is none. */
const maxAuthorizationLength = 16 * 1024

/** Reads the target from a route's captures: the repository path, and the reference where there is one. */
export function parseTarget(ctx: RegistryContext, registries: KnownRegistries): Target {
  const namespace = singleParameter(ctx, 'ns')
  const [path = '', reference = ''] = ctx.captures ?? []
  const repository = parseRepository(path, namespace, registries)
  ctx.state.facts.repository = repository
  if (reference !== '') ctx.state.facts.reference = reference
  if (namespace !== undefined) ctx.set('OCI-Namespace', repository.registry)
  const authorization = ctx.get('authorization')
  if (authorization.length > maxAuthorizationLength) {
    throw new OciError('UNKNOWN', `the Authorization header has more than ${maxAuthorizationLength} bytes`, {
      status: 431,
    })
  }
  return {
    repository,
    reference,
    authorization: authorization === '' ? undefined : authorization,
    signal: ctx.state.signal,
  }
}

function singleParameter(ctx: RegistryContext, name: string): string | undefined {
  const value = ctx.query[name]
  if (Array.isArray(value)) throw new OciError('NAME_INVALID', `the parameter ${name} is given more than once`)
  return value === '' ? undefined : value
}
