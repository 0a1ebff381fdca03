import { type Digest, parseDigest } from './digest.ts'
import { OciError } from './errors.ts'
import { canonicalRegistry, isRegistryName, isTag, parseRepositoryName } from './name.ts'

/** The name of an image as people write it, such as `ghcr.io/team/app:1`. */
export interface Reference {
  /** Canonical; undefined for a name that begins with none. */
  readonly registry: string | undefined
  /** As it stands there, without what a registry adds. */
  readonly name: string
  readonly tag: string | undefined
  readonly digest: Digest | undefined
}

/**
 * Reads `[registry/]name[:tag][@digest]`. As in Docker, the first part is a registry where it has a dot or a port, or is `localhost`.
 * @throws {OciError} NAME_INVALID, DIGEST_INVALID
 */
export function parseReference(text: string): Reference {
  const at = text.indexOf('@')
  const digest = at === -1 ? undefined : parseDigest(text.slice(at + 1))
  const named = at === -1 ? text : text.slice(0, at)
  const colon = named.lastIndexOf(':')
  const hasTag = colon > named.lastIndexOf('/')
  const tag = hasTag ? named.slice(colon + 1) : undefined
  if (tag !== undefined && !isTag(tag)) {
    const shown = tag.length > 140 ? `${tag.slice(0, 140)}…` : tag
    throw new OciError(
      'NAME_INVALID',
      `"${shown}" is not a tag: letters, digits, . _ -, at most 128 characters, not starting with . or -`,
    )
  }
  const path = hasTag ? named.slice(0, colon) : named
  const slash = path.indexOf('/')
  const first = slash === -1 ? undefined : canonicalRegistry(path.slice(0, slash))
  const registry = first !== undefined && isRegistryName(first) ? first : undefined
  return { registry, name: parseRepositoryName(registry === undefined ? path : path.slice(slash + 1)), tag, digest }
}
