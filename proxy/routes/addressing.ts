import { isLocalhost } from '../addresses.ts'
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
  /** The tag or digest, where the resource has one. */
  readonly reference?: string | undefined
  /** Whether it is a HEAD, which moves nothing. */
  readonly isHead?: boolean | undefined
}

/** The names that there are. */
export interface Names {
  /** Registries that may be asked; a name that is none of them is refused, as it would be an address to dial. */
  readonly registries: KnownRegistries
  /** This node's own registry. */
  readonly local: LocalNames
  /** Whether it is left out where the request came to, so that nothing is there but upstream registries. */
  readonly isMirrorOnly?: boolean | undefined
}

export interface ParsedRepository {
  readonly repository: Repository
  /** Whether it is of this node's own registry. */
  readonly isLocal: boolean
  /** Whether it could be, though nothing of it is here: a bare name that a push would make a local one. */
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
 * A bare name is read where a push of it would go. Names that mirrors ask for are docker.io's ({@link isGuarded}). All others are
 * local at the host `localhost`, or at the name that was given to this node's own registry, and at each address where such a
 * repository is here. Where it is not, Docker Engine may ask its mirror, so that docker.io is read. But HEAD by digest is answered
 * from what is here: a push begins with the question which content it can leave out, and a pull does not. A push that has begun
 * is told of its tags in the same way, one by one and as a list.
 * @throws {OciError} NAME_INVALID, NAME_UNKNOWN
 */
export function parseRepository(address: Address, names: Names): ParsedRepository {
  const { registry, name } = namedRegistry(address, names)
  if (registry === names.local.registry) return local(name, names)
  if (registry !== undefined) return upstream(registry, name, false)
  if (names.isMirrorOnly === true) return upstream(defaultRegistry, name, false)
  const { reference = '', isHead = false } = address
  if (names.local.has(name, reference)) return local(name, names)
  if (isGuarded(name, names.local)) return upstream(defaultRegistry, name, false)
  const isOfPush = (isHead && reference.includes(':')) || (names.local.isBegun(name) && (isHead || reference === ''))
  return isOfPush || isOwnHost(address.host, names) ? local(name, names) : upstream(defaultRegistry, name, true)
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
  if (names.local.has(name, address.reference) || !isGuarded(name, names.local)) return localName
  throw new OciError(
    'DENIED',
    `${name} is a name of ${defaultRegistry}, for which this node is a mirror: push to ${placeOf(name, address, names)}, or choose another name`,
  )
}

/**
 * Whether a bare name can't be taken by a push: one that mirrors ask docker.io for, or that is local by its whole name only.
 */
export function isGuarded(name: string, local: Pick<LocalNames, 'isHidden' | 'isHeld'>): boolean {
  if (name.startsWith(officialImages) || local.isHidden(name)) return true
  return isMirrored(name) && local.isHeld({ registry: defaultRegistry, name })
}

/** Whether Docker asks its mirrors for a name as it is: before names of one part it writes `library/`. */
export function isMirrored(name: string): boolean {
  return name.includes('/')
}

/** Whether a name begins like one with a registry, so that it is local only with the local registry's name before it. */
export function beginsWithRegistry(name: string): boolean {
  const slash = name.indexOf('/')
  return slash !== -1 && isRegistryName(canonicalRegistry(name.slice(0, slash)))
}

function namedRegistry(address: Address, names: Names): NamedRegistry {
  const { path, namespace, host, port } = address
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
  if (registry === names.local.registry) {
    if (names.isMirrorOnly !== true) return withoutRegistry(path, first, registry)
    throw new OciError('NAME_UNKNOWN', 'images that were pushed to this node are not given where it asks for a login')
  }
  if (registry !== undefined && !names.registries.has(registry)) {
    const shown = isRegistryName(registry) ? `the registry ${registry}` : 'the registry named by ns'
    const own =
      namespace === undefined ? `, or name ${placeOf(path, address, names)} where it is an image of this node` : ''
    throw new OciError(
      'NAME_UNKNOWN',
      `${shown} is not in this node's list: add it to "registries" in its configuration${own}`,
    )
  }
  return withoutRegistry(path, first, registry)
}

/** @param first the registry that the path begins with, if any */
function withoutRegistry(path: string, first: string | undefined, registry: string | undefined): NamedRegistry {
  return { registry, name: first !== undefined && first === registry ? path.slice(path.indexOf('/') + 1) : path }
}

/** Where a local repository is found whatever its name begins with. */
function placeOf(name: string, { host = 'localhost:5050' }: Address, { local }: Names): string {
  return `${host}/${local.registry}/${name}`
}

/**
 * Whether a registry's name means this node: containerd says `ns=localhost:5050` to the mirror that it is told to use for all.
 * Registries of the list come first: another port of this machine may be another registry.
 */
function isOwn(name: string, { host, port }: Pick<Address, 'host' | 'port'>, { registries, local }: Names): boolean {
  if (name === local.registry) return true
  if (registries.has(name)) return false
  if (host !== undefined && name === canonicalRegistry(host)) return true
  const bare = hostOf(name)
  const isHere = bare === hostOf(local.registry) || /^(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])$/.test(bare)
  return port !== undefined && isHere && name === `${bare}:${port}`
}

/** Whether this node is called as people call it for their own images. */
function isOwnHost(host: string | undefined, { local }: Names): boolean {
  if (host === undefined) return false
  const bare = hostOf(canonicalRegistry(host))
  return isLocalhost(bare) || bare === hostOf(local.registry)
}

/** A registry's name without its port. */
function hostOf(name: string): string {
  return name.replace(/:\d+$/, '')
}

function local(name: string, { local: { registry } }: Names): ParsedRepository {
  return { repository: { registry, name: parseRepositoryName(name) }, isLocal: true, mayBeLocal: false }
}

function upstream(registry: string, name: string, mayBeLocal: boolean): ParsedRepository {
  const repository = { registry, name: canonicalRepository(registry, parseRepositoryName(name)) }
  return { repository, isLocal: false, mayBeLocal }
}
