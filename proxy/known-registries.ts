import { isIP } from 'node:net'
import { isPattern } from '../config/scalars.ts'
import { type Config, type RegistryConfig, registryAt } from '../config/schema.ts'
import { canonicalRegistry, isRegistryName } from './oci/name.ts'
import { hostOfName, isPublicName } from './public-hosts.ts'

/** What the routes need to know: whether a registry may be asked, by its canonical name. */
export interface KnownRegistries {
  has(name: string): boolean
}

/** A registry that may be asked. */
export interface RegistryEntry {
  /** The options of its own entry or of its pattern's; for a pattern, `endpoint` is still the pattern's. */
  readonly config: RegistryConfig
  /**
   * Why it may be asked: it is on the list, a pattern on the list matches, or any public one may be (which must then be
   * kept from addresses that are not).
   */
  readonly reason: 'listed' | 'pattern' | 'public'
}

/** The options of a registry that is not on the list. */
const defaults = registryAt('https://registry.invalid')

/** The registries that may be asked, as configured. Names are taken as {@link canonicalRegistry} gives them. */
export class RegistryList implements KnownRegistries {
  /** The entries without a pattern, by canonical name. */
  readonly listed: ReadonlyMap<string, RegistryConfig>
  /** All entries, by canonical name. */
  readonly configured: ReadonlyMap<string, RegistryConfig>
  /** What a name must end with, the longest first. */
  readonly #patterns: readonly (readonly [suffix: string, config: RegistryConfig])[]
  readonly #anyPublic: boolean

  /** @param anyPublic whether registries that are not on the list may be asked where their name is public DNS */
  constructor(registries: Config['registries'], anyPublic: boolean) {
    const entries = Object.entries(registries).map(([name, config]) => [canonicalRegistry(name), config] as const)
    this.configured = new Map(entries)
    this.listed = new Map(entries.filter(([name]) => !isPattern(name)))
    this.#patterns = entries
      .filter(([name]) => isPattern(name))
      .map(([name, config]) => [name.slice(1), config] as const)
      .sort(([a], [b]) => b.length - a.length)
    this.#anyPublic = anyPublic
  }

  has(name: string): boolean {
    return this.find(name) !== undefined
  }

  /** @param name canonical, but not trusted: it may come from a client */
  find(name: string): RegistryEntry | undefined {
    const listed = this.listed.get(name)
    if (listed !== undefined) return { config: listed, reason: 'listed' }
    const host = hostOfName(name)
    if (!isRegistryName(name) || isIP(host) !== 0) return undefined
    // A pattern names the port, too, or means the one that goes without saying.
    const pattern = this.#patterns.find(([suffix]) => name.length > suffix.length && name.endsWith(suffix))
    if (pattern !== undefined) return { config: pattern[1], reason: 'pattern' }
    if (!this.#anyPublic || !isPublicName(host)) return undefined
    return { config: { ...defaults, endpoint: `https://${name}` }, reason: 'public' }
  }
}
