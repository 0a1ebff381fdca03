import type { KnownRegistries } from '../known-registries.ts'
import { OciError } from '../oci/errors.ts'
import {
  canonicalRegistry,
  canonicalRepository,
  isRegistryName,
  parseRepositoryName,
  type Repository,
} from '../oci/name.ts'

/** What a bare name means, as Docker Engine sends it to its mirrors. */
const defaultRegistry = 'docker.io'

/**
 * The repository that a request means. Three ways of addressing are known:
 * `?ns=<registry>` (distribution-spec, "Registry Proxying"), `/v2/<registry>/<name>/…`, and the bare name for docker.io.
 * With the first, the path is the repository; where it begins with the very registry that `ns` names, that is left out, as
 * containerd with `override_path` sends both.
 * @param path what stands between `/v2/` and the resource, not decoded
 * @param namespace the `ns` parameter, if there is one
 * @param known the registries that may be asked; a name that is none of them is refused, as it would be an address to dial
 * @throws {OciError} NAME_INVALID, NAME_UNKNOWN
 */
export function parseRepository(path: string, namespace: string | undefined, known: KnownRegistries): Repository {
  if (path.includes('%')) {
    throw new OciError(
      'NAME_INVALID',
      'percent-encoding is not part of a repository name; write its slashes as they are',
    )
  }
  const slash = path.indexOf('/')
  const host = slash === -1 ? '' : canonicalRegistry(path.slice(0, slash))
  const first = isRegistryName(host) ? host : undefined
  const registry = namespace === undefined ? (first ?? defaultRegistry) : canonicalRegistry(namespace)
  if (!known.has(registry)) {
    const shown = isRegistryName(registry) ? `the registry ${registry}` : 'the registry named by ns'
    throw new OciError(
      'NAME_UNKNOWN',
      `${shown} is not in this node's list: add it to "registries" in its configuration`,
    )
  }
  const name = parseRepositoryName(first === registry ? path.slice(slash + 1) : path)
  return { registry, name: canonicalRepository(registry, name) }
}
