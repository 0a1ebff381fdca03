import type { KnownRegistries } from '../known-registries.ts'
import { OciError } from '../oci/errors.ts'
import {
  canonicalRegistry,
  canonicalRepository,
  isRegistryName,
  parseRepositoryName,
  type Repository,
} from '../oci/name.ts'
import type { LocalNames } from '../ports.ts'

/** What a bare name means, as Docker Engine sends it to its mirrors. */
const defaultRegistry = 'docker.io'

/** Names of this kind are asked of mirrors by all Docker Engines, for what their users call `alpine`: no push may take one. */
const officialImages = 'library/'

/** What a request says of the repository that it means. */
export interface Address {
  /** What stands between `/v2/` and the resource, not decoded. */
  readonly path: string
  /** The `ns` parameter, if there is one. */
  readonly namespace?: string | undefined
  /** The `Host` header, as far as it is known. */
  readonly host?: string | undefined
  /** The port that the request came to. */
  readonly port?: number | undefined
}

/** The names that there are. */
export interface Names {
  /** Registries that may be asked; a name that is none of them is refused, as it would be an address to dial. */
  readonly registries: KnownRegistries
  /** This node's own registry. */
  readonly local: LocalNames
}

export interface ParsedRepository {
  readonly repository: Repository
  /** Whether it is of this node's own registry. */
  readonly isLocal: boolean
  /** Whether it could be, though nothing of it is here: a bare name that is neither a local one nor known to be docker.io's. */
  readonly mayBeLocal: boolean
}

/** The registry that is named, if any, and the rest. */
interface NamedRegistry {
  /** Canonical; undefined for a bare name. */
  readonly registry: string | undefined
  /** The repository in it, not checked. */
  readonly name: string
}

/**
 * The repository that a request to read means. Three ways of addressing are known: `?ns=<registry>` (distribution-spec,
 * "Registry Proxying"), `/v2/<registry>/<name>/…`, and the bare name. With the first, the path is the repository; where it begins
 * with the very registry that `ns` names, that is left out, as containerd with `override_path` sends both.
 *
 * A bare name is first a local one, if there is such a repository. Otherwise it is one of docker.io, as Docker Engine asks its
 * mirrors; but at the host `localhost`, names that are not known to be docker.io's are local, so that nobody else is asked whether
 * `localhost:5050/app` exists.
 * @throws {OciError} NAME_INVALID, NAME_UNKNOWN
 */
export function parseRepository(address: Address, names: Names): ParsedRepository {
  const { registry, name } = namedRegistry(address, names)
  if (registry === names.local.registry) return local(name, names)
  if (registry !== undefined) return upstream(registry, name, false)
  if (names.local.has(name)) return local(name, names)
  const isKnown = isOfDefault(name, names)
  if (!isKnown && isLocalhost(address.host)) return local(name, names)
  return upstream(defaultRegistry, name, !isKnown)
}

/**
 * The local repository that a push, or a deletion, means. A bare name makes a local repository of it, unless mirrors would ask for
 * it: whoever can push here must not decide what `alpine` is to Docker.
 * @returns its name
 * @throws {OciError} NAME_INVALID, NAME_UNKNOWN; UNSUPPORTED for upstream registries, DENIED for names of docker.io
 */
export function parsePushName(address: Address, names: Names): string {
  const { registry, name } = namedRegistry(address, names)
  const localName = parseRepositoryName(name)
  if (registry === names.local.registry) return localName
  if (registry !== undefined) {
    throw new OciError('UNSUPPORTED', `${registry} is a mirror here, for pulling: push to it directly`, {
      headers: { Allow: 'GET, HEAD' },
    })
  }
  // One-part names are no mirror's: what they ask for has a "library/".
  const isGuarded = name.includes('/') && isOfDefault(name, names)
  if (names.local.has(name) || !isGuarded) return localName
  const place = `${address.host ?? 'localhost:5050'}/${names.local.registry}/${name}`
  throw new OciError(
    'DENIED',
    `${name} is a name of ${defaultRegistry}, for which this node is a mirror: push to ${place}, or choose another name`,
  )
}

function namedRegistry({ path, namespace, host, port }: Address, names: Names): NamedRegistry {
  if (path.includes('%')) {
    throw new OciError(
      'NAME_INVALID',
      'percent-encoding is not part of a repository name; write its slashes as they are',
    )
  }
  const slash = path.indexOf('/')
  const beginning = slash === -1 ? '' : canonicalRegistry(path.slice(0, slash))
  const own = (name: string) => (isOwn(name, { host, port }, names) ? names.local.registry : name)
  const first = isRegistryName(beginning) ? own(beginning) : undefined
  const registry = namespace === undefined ? first : own(canonicalRegistry(namespace))
  if (registry !== undefined && registry !== names.local.registry && !names.registries.has(registry)) {
    const shown = isRegistryName(registry) ? `the registry ${registry}` : 'the registry named by ns'
    throw new OciError(
      'NAME_UNKNOWN',
      `${shown} is not in this node's list: add it to "registries" in its configuration`,
    )
  }
  return { registry, name: first !== undefined && first === registry ? path.slice(slash + 1) : path }
}

/**
 * Whether a registry's name means this node: containerd says `ns=localhost:5050` to the mirror that it is told to use for all.
 * Registries of the list come first: another port of this machine may be another registry.
 */
function isOwn(name: string, { host, port }: Pick<Address, 'host' | 'port'>, { registries, local }: Names): boolean {
  if (name === local.registry) return true
  if (registries.has(name)) return false
  if (host !== undefined && name === canonicalRegistry(host)) return true
  return port !== undefined && /^(?:localhost|127(?:\.\d{1,3}){3}|\[::1\]):\d+$/.test(name) && name.endsWith(`:${port}`)
}

/** Whether a bare name is known to be one of docker.io. */
function isOfDefault(name: string, { local }: Names): boolean {
  if (name.startsWith(officialImages)) return true
  return local.isHeld({ registry: defaultRegistry, name: canonicalRepository(defaultRegistry, name) })
}

function isLocalhost(host: string | undefined): boolean {
  return host !== undefined && /^localhost(?::\d+)?$/i.test(host)
}

function local(name: string, { local: { registry } }: Names): ParsedRepository {
  return { repository: { registry, name: parseRepositoryName(name) }, isLocal: true, mayBeLocal: false }
}

function upstream(registry: string, name: string, mayBeLocal: boolean): ParsedRepository {
  const repository = { registry, name: canonicalRepository(registry, parseRepositoryName(name)) }
  return { repository, isLocal: false, mayBeLocal }
}
