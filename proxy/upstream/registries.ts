import type { LookupFunction } from 'node:net'
import type { Config, RegistryConfig } from '../../config/schema.ts'
import type { RegistryList } from '../known-registries.ts'
import { canonicalRegistry } from '../oci/name.ts'
import type { OwnPorts } from './guard.ts'
import { createRegistry, type Registry, readTlsFiles, type TlsFiles } from './registry.ts'
import { UpstreamError } from './types.ts'

/**
 * Registries without an entry of their own that are kept ready; the least recently used goes first. A client can name as
 * many as it likes.
 */
const maxOnDemand = 100

interface RegistriesOptions {
  readonly list: RegistryList
  readonly settings: Config['upstream']
  /** For `User-Agent`. */
  readonly userAgent: string
  readonly now: () => number
  /** Where this node listens itself. */
  readonly ownPorts?: OwnPorts | undefined
  /** What resolves names in place of the system; for tests. */
  readonly lookup?: LookupFunction | undefined
}

/** The registries that are asked: those of the list from the start, those of patterns and public ones when they are. */
export class Registries {
  readonly #options: RegistriesOptions
  readonly #listed: ReadonlyMap<string, Registry>
  readonly #onDemand = new Map<string, Registry>()
  readonly #files = new Map<RegistryConfig, TlsFiles>()

  /** @throws {Error} where a file of a registry's options cannot be read */
  constructor(options: RegistriesOptions) {
    this.#options = options
    const { list, settings, userAgent, now, ownPorts, lookup } = options
    for (const [name, config] of list.configured) this.#files.set(config, readTlsFiles(name, config))
    this.#listed = new Map(
      [...list.listed].map(([name, config]) => [
        name,
        createRegistry(name, config, { settings, files: this.#filesOf(config), userAgent, now, ownPorts, lookup }),
      ]),
    )
  }

  /** @throws {UpstreamError} not-found */
  get(name: string): Registry {
    const registry = this.known(name) ?? this.#create(name)
    if (!this.#listed.has(name)) this.#keep(name, registry)
    return registry
  }

  /** A registry that is kept ready; it is not made. */
  known(name: string): Registry | undefined {
    return this.#listed.get(name) ?? this.#onDemand.get(name)
  }

  /** The configured registry with this origin: one of the list, or of a pattern. Those that are merely public are not. */
  at(origin: string): Registry | undefined {
    for (const registry of this.#listed.values()) if (registry.endpoint.origin === origin) return registry
    const { protocol, host } = new URL(origin)
    const name = canonicalRegistry(host)
    const isPattern = protocol === 'https:' && this.#options.list.find(name)?.reason === 'pattern'
    return isPattern ? this.get(name) : undefined
  }

  #create(name: string): Registry {
    const { list, settings, userAgent, now, ownPorts, lookup } = this.#options
    const entry = list.find(name)
    if (entry === undefined) throw new UpstreamError('not-found', `${name} is not one of the configured registries`)
    const config = { ...entry.config, endpoint: `https://${name}` }
    const publicOnly = entry.reason === 'public'
    const files = this.#filesOf(entry.config)
    return createRegistry(name, config, { settings, files, userAgent, now, ownPorts, lookup, publicOnly })
  }

  #filesOf(config: RegistryConfig): TlsFiles {
    return this.#files.get(config) ?? { clientCertificate: undefined }
  }

  #keep(name: string, registry: Registry): void {
    this.#onDemand.delete(name)
    this.#onDemand.set(name, registry)
    const oldest = this.#onDemand.entries().next().value
    if (this.#onDemand.size <= maxOnDemand || oldest === undefined) return
    this.#onDemand.delete(oldest[0])
    void oldest[1].close()
  }

  /** The machine's network has changed: those that are away may be back. */
  wayMayBeOpen(): void {
    for (const { comeback } of [...this.#listed.values(), ...this.#onDemand.values()]) comeback.wayMayBeOpen()
  }

  /** Ends running requests. */
  async close(): Promise<void> {
    await Promise.all([...this.#listed.values(), ...this.#onDemand.values()].map((registry) => registry.destroy()))
  }
}
