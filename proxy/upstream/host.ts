import type { Dispatcher } from 'undici'
import type { Repository } from '../oci/name.ts'
import type { Credentials } from './docker-config.ts'
import type { Registry } from './registry.ts'

/** Whom one request goes to: the registry itself, or a host that it sent us to. */
export interface Host {
  /** For a person, and to tell apart what hosts have granted. */
  readonly name: string
  /** Its origin, or the endpoint of a configured registry. */
  readonly endpoint: URL
  /** The root of its API. */
  readonly pingUrl: URL
  readonly isElsewhere: boolean
  /** The configured ones, which are used for no other host. */
  readonly credentials: Credentials | undefined
  /** Token services on other domains that it may name. */
  readonly authRealms: readonly string[]
  /** As the host knows it. */
  readonly repository: string
  /** Whether anything secret may go there. */
  readonly isTrusted: boolean
  /** Whether it is known to be the host of that name, so that what the node has for that name may go there. */
  readonly isProven: boolean
  /** Whether what it gives is not everybody's, as it is shown a client certificate. */
  readonly isPrivate: boolean
  /** What sends requests to it, and to the token service that it names. */
  dispatcherFor(url: URL): Dispatcher
  /** The registry that the request was first for, whose deadlines hold. */
  readonly via: Registry
}

interface Place {
  readonly url: URL
  readonly registry: Registry
  readonly repository: Repository
  /** Whether another host was asked before: one that sends us back gets nothing for it. */
  readonly hasLeft: boolean
  /** Whether the node's client certificates are not for the one who asks. */
  readonly isGuest: boolean
  /** The configured registry with an origin. */
  readonly registryAt: (origin: string) => Registry | undefined
}

/** The host at a URL that a registry's request has led to. */
export function hostAt(place: Place): Host {
  const { url, registry, repository, hasLeft } = place
  if (hasLeft || url.origin !== registry.endpoint.origin) return elsewhere(place)
  return {
    ...configured(registry),
    isElsewhere: false,
    repository: registry.repositoryAt(repository.name),
    isTrusted: true,
    isProven: true,
    isPrivate: registry.isPrivate,
    dispatcherFor: (target) => registry.dispatcherFor(target),
    via: registry,
  }
}

function elsewhere({ url, registry, repository, isGuest, registryAt }: Place): Host {
  // A registry that nobody configured leads to none that somebody did, nor to what Docker's file has.
  const known = registry.isPublicOnly ? undefined : registryAt(url.origin)
  const { protocol } = registry.endpoint
  // A host that sends us back to the registry does not decide what our credentials there are used for.
  const isTrusted = url.origin !== registry.endpoint.origin && (url.protocol === 'https:' || protocol === 'http:')
  const unknown = {
    name: url.host,
    endpoint: new URL(url.origin),
    pingUrl: new URL('/v2/', url),
    credentials: undefined,
    authRealms: [],
  }
  return {
    ...(known === undefined ? unknown : configured(known)),
    isElsewhere: true,
    repository: /\/v2\/(.+)\/(?:manifests|blobs|tags|referrers)\//.exec(url.pathname)?.[1] ?? repository.name,
    isTrusted,
    isProven: known !== undefined || (url.protocol === 'https:' && !registry.isInsecure && !registry.isPublicOnly),
    isPrivate: known?.isPrivate === true && isTrusted && !isGuest,
    dispatcherFor: (target) => (known ?? registry).dispatcherFor(target, known === undefined || !isTrusted || isGuest),
    via: registry,
  }
}

function configured({ name, endpoint, pingUrl, credentials, authRealms }: Registry) {
  return { name, endpoint, pingUrl, credentials, authRealms }
}
