import { OciError } from './errors.ts'

/** Where content lives: the registry's name (a host, never an address to dial) and the repository in it. */
export interface Repository {
  /** Lower-case registry name as in a reference, such as `docker.io` or `registry.example.com:5000`. */
  readonly registry: string
  /** Repository name, such as `library/alpine`. */
  readonly name: string
}

// distribution-spec 1.1, "Pulling manifests": the grammar of <name> and of a tag.
const namePattern = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:\/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*$/
const tagPattern = /^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$/

/** Many clients limit host plus name to 255 characters (distribution-spec 1.1, "Pulling manifests"). */
const maxNameLength = 255

/** @throws {OciError} NAME_INVALID */
export function parseRepositoryName(text: string): string {
  if (text.length <= maxNameLength && namePattern.test(text)) return text
  throw new OciError(
    'NAME_INVALID',
    text.length > maxNameLength
      ? `the repository name has ${text.length} characters; at most ${maxNameLength} are allowed`
      : `"${text}" is not a repository name: lower-case letters and digits, separated by one of . _ __ - or /`,
  )
}

export function isTag(text: string): boolean {
  return tagPattern.test(text)
}

/**
 * Reads a tag. No manifest has a name that is none, which is why it is unknown rather than a bad request: the public
 * conformance suite asks for `.INVALID_MANIFEST_NAME` and wants 404.
 * @throws {OciError} MANIFEST_UNKNOWN
 */
export function parseTag(text: string): string {
  if (isTag(text)) return text
  const shown = text.length > 140 ? `${text.slice(0, 140)}…` : text
  throw new OciError(
    'MANIFEST_UNKNOWN',
    `"${shown}" is neither a tag (letters, digits, . _ -, at most 128 characters, not starting with . or -) nor a digest`,
  )
}

// A host with a dot, a port or "localhost", as Docker's reference grammar tells a host from a repository name.
const registryPattern =
  /^(?:localhost|[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)+|[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?=:)|\[[0-9a-f:]+\])(?::[0-9]{1,5})?$/

/** Whether text has the form of a registry's name rather than of a part of a repository name. */
export function isRegistryName(text: string): boolean {
  return text.length <= maxNameLength && registryPattern.test(text)
}

/** Docker Hub has three names; the first is the one in references. */
const dockerHub = 'docker.io'
const dockerHubAliases: ReadonlySet<string> = new Set(['index.docker.io', 'registry-1.docker.io'])

/**
 * The one name of a registry: lower case, without the dot that may end a host's name and without the port that goes
 * without saying, Docker Hub's aliases resolved. A host of one label keeps its port, which tells it from a repository.
 */
export function canonicalRegistry(name: string): string {
  const plain = name
    .toLowerCase()
    .replace(/^([^:]*[^:.])\.(?=$|:)/, '$1')
    .replace(/^((?=[^:]*\.)[^:]+|localhost|\[[^\]]*\]):443$/, '$1')
  return dockerHubAliases.has(plain) ? dockerHub : plain
}

/** Docker Hub's official images are written without their `library/`. */
export function canonicalRepository(registry: string, name: string): string {
  return registry === dockerHub && !name.includes('/') ? `library/${name}` : name
}

/** `registry/repository`, the text form used in logs and keys. */
export function repositoryText(repository: Repository): string {
  return `${repository.registry}/${repository.name}`
}

/** The registry in `registry/repository`. */
export function registryOf(repository: string): string {
  return repository.slice(0, repository.indexOf('/'))
}

/**
 * What a kept list is called: as a tag is, but that no tag has a slash.
 * @param resource `tags/list` or `referrers/<digest>`
 */
export function listReference(repository: Repository, resource: string): string {
  return `${repositoryText(repository)}:${resource.replace(':', '-')}`
}

/** Whether what stands in the place of a tag is the name of a list. */
export function isListName(text: string): boolean {
  return /^(?:tags\/list|referrers\/sha(?:256-[0-9a-f]{64}|512-[0-9a-f]{128}))$/.test(text)
}
