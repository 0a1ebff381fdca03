import type { Repository } from '../oci/name.ts'
import type { Credentials } from './docker-config.ts'
import type { Registry } from './registry.ts'

/** Whom one request goes to: the registry itself, or a host that it sent us to. */
export interface Host {
  /** For a person, and to tell apart what hosts have granted. */
  readonly name: string
  /** Its origin, or the endpoint of a configured registry. */
  readonly endpoint: URL
  readonly isElsewhere: boolean
  /** The configured ones, which are used for no other host. */
  readonly credentials: Credentials | undefined
  /** Token services on other domains that it may name. */
  readonly authRealms: readonly string[]
  /** As the host knows it. */
  readonly repository: string
  /** Whether anything secret may go there. */
  readonly isTrusted: boolean
  /** The registry that the request was first for: how to reach hosts, and how long to wait for them. */
  readonly via: Registry
}

interface Place {
  readonly url: URL
  readonly registry: Registry
  readonly repository: Repository
  /** Whether another host was asked before: one that sends us back gets nothing for it. */
  readonly hasLeft: boolean
  readonly registryAt: (origin: string) => Registry | undefined
}

/** The host at a URL that a registry's request has led to. */
export function hostAt({ url, registry, repository, hasLeft, registryAt }: Place): Host {
  const isElsewhere = hasLeft || url.origin !== registry.endpoint.origin
  if (!isElsewhere) {
    const { name, endpoint, authRealms, credentials } = registry
    return {
      name,
      endpoint,
      isElsewhere,
      credentials,
      authRealms,
      repository: repository.name,
      isTrusted: true,
      via: registry,
    }
  }
  const known = registryAt(url.origin)
  const path = /\/v2\/(.+)\/(?:manifests|blobs|tags|referrers)\//.exec(url.pathname)?.[1]
  return {
    name: known?.name ?? url.host,
    endpoint: known?.endpoint ?? new URL(url.origin),
    isElsewhere,
    credentials: known?.credentials,
    authRealms: known?.authRealms ?? [],
    repository: path ?? repository.name,
    // A host that sends us back to the registry does not decide what our credentials there are used for.
    isTrusted:
      url.origin !== registry.endpoint.origin && (url.protocol === 'https:' || registry.endpoint.protocol === 'http:'),
    via: registry,
  }
}
