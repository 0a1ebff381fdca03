import { repositoryMatcher, splitFreshness, tagMatcher, tagValues } from '../config/patterns.ts'
import { isWellKnown, publicRepositories } from '../config/registries.ts'
import type { Config } from '../config/schema.ts'
import { parseDuration } from '../config/units.ts'
import { canonicalRegistry, registryOf } from '../proxy/oci/name.ts'

/** What the configuration says of single repositories and tags; a repository is named `registry/repository`. */
export interface Rules {
  /** Whether all repositories may be cached. */
  readonly cachesAll: boolean
  /** Whether all repositories may be shared. */
  readonly sharesAll: boolean
  /** Whether content and tags may be kept on disk. */
  mayCache(repository: string): boolean
  /** Whether peers may have content and tags, hear of them, and be asked for them. What may not be kept may not be shared. */
  mayShare(repository: string): boolean
  /**
   * Whether peers of an open swarm may have content that upstream gave without credentials: never (`nothing`); once that has
   * happened (`proven`); or they may hear of the repository before (`told`).
   */
  toStrangers(repository: string): 'nothing' | 'proven' | 'told'
  /** Whether the user calls a repository public (`repositories.public`). */
  isCalledPublic(repository: string): boolean
  /** Whether upstream has to confirm each request, with no grace. */
  mustAsk(repository: string): boolean
  /** How long a confirmed tag is answered without asking upstream again, in ms; Infinity for one that never moves. */
  freshFor(repository: string, tag: string): number
}

type RulesConfig = Pick<Config, 'registry' | 'repositories' | 'registries' | 'tags'>

/** The rules of a node: the one place where patterns are matched. */
export function createRules({ registry, repositories, registries, tags }: RulesConfig): Rules {
  const { neverCache, neverShare, alwaysAsk } = repositories
  const isUncached = repositoryMatcher(neverCache)
  const isUnshared = repositoryMatcher(neverShare)
  const isAlwaysAsked = repositoryMatcher(alwaysAsk)
  const isSaidPublic = repositoryMatcher(repositories.public)
  const isAllPublic = repositoryMatcher(publicRepositories)
  const own = canonicalRegistry(registry.localName)
  const wellKnown = new Set<string>()
  for (const [name, registry] of Object.entries(registries))
    if (isWellKnown(canonicalRegistry(name), registry)) wellKnown.add(canonicalRegistry(name))
  const mayShare = (repository: string) => !isUncached(repository) && !isUnshared(repository)
  const isImmutable = tagMatcher(tags.immutable)
  const freshness = tagValues(tags.freshness.map(parseFreshness))
  return {
    cachesAll: neverCache.length === 0,
    sharesAll: neverCache.length === 0 && neverShare.length === 0,
    mayCache: (repository) => !isUncached(repository),
    mayShare,
    toStrangers: (repository) => {
      if (!mayShare(repository)) return 'nothing'
      // What peers have pushed they have pushed for others.
      if (isSaidPublic(repository) || registryOf(repository) === own) return 'told'
      if (!wellKnown.has(registryOf(repository))) return 'nothing'
      return isAllPublic(repository) ? 'told' : 'proven'
    },
    isCalledPublic: isSaidPublic,
    // Of what peers have pushed there is no registry to ask.
    mustAsk: (repository) => isAlwaysAsked(repository) && registryOf(repository) !== own,
    freshFor: (repository, tag) => {
      if (isAlwaysAsked(repository)) return 0
      if (isImmutable(repository, tag)) return Number.POSITIVE_INFINITY
      return freshness(repository, tag) ?? tags.freshFor
    },
  }
}

/** The schema has checked it. */
function parseFreshness(entry: string): { pattern: string; value: number } {
  const { pattern = '', duration = '' } = splitFreshness(entry) ?? {}
  return { pattern, value: parseDuration(duration) ?? 0 }
}
