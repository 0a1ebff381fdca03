import type { Digest } from '../../proxy/oci/digest.ts'
import { repositoryText } from '../../proxy/oci/name.ts'
import type { Content, ContentRequest } from '../../proxy/ports.ts'
import type { BlobStore } from '../store/blob-store.ts'
import type { PeerId, Swarm } from '../swarm/ports.ts'
import type { AccessControl } from './access.ts'
import { Flight } from './flight.ts'
import type { Sequences } from './sequences.ts'

interface FlightsOptions {
  readonly store: Pick<BlobStore, 'stage'>
  readonly swarm: Pick<Swarm, 'ban'>
  readonly access: Pick<AccessControl, 'identityOf'>
  readonly sequences: Sequences
  /** A blob was proven by its digest, of so many bytes. */
  readonly onVerified: (bytes: number) => void
  /** What is fetched is given to clients, and can't be kept. */
  readonly onUncached: (digest: Digest, error: unknown) => void
  readonly logger: { warn(facts: object, message: string): void }
}

/** Flights that nobody waits for any more and that still go on, so that a client's second try finds the blob. */
const maxOrphans = 16

/** The fetches as one stream that are under way: one for each asker, repository and digest. */
export class Flights {
  readonly #options: FlightsOptions
  readonly #running = new Map<string, { readonly flight: Flight; readonly landing: Promise<void> }>()
  readonly #landings = new Set<Promise<void>>()

  constructor(options: FlightsOptions) {
    this.#options = options
  }

  get size(): number {
    return this.#running.size
  }

  /** Joins the flight for a request, or starts it. @throws why the content can't be had, or the signal's reason */
  async open(request: ContentRequest): Promise<Content> {
    const key = this.#keyOf(request)
    const { flight } = this.#running.get(key) ?? this.#start(request, key)
    return await flight.open(request.signal)
  }

  /** Ends with the flight for a request; undefined where none is under way. */
  landing(request: ContentRequest): Promise<void> | undefined {
    return this.#running.get(this.#keyOf(request))?.landing
  }

  /** Ends a flight that nobody waits for. */
  abandon(request: ContentRequest, reason: Error): void {
    const flight = this.#running.get(this.#keyOf(request))?.flight
    if (flight?.clients === 0) flight.abort(reason)
  }

  /** Ends all, and waits until they have let go of the store. */
  async close(): Promise<void> {
    for (const { flight } of this.#running.values()) flight.abort(new Error('the node is stopping'))
    await Promise.all(this.#landings)
  }

  #keyOf(request: ContentRequest): string {
    const { kind, digest, repository } = request
    return `${kind} ${digest} ${this.#options.access.identityOf(request)} ${repositoryText(repository)}`
  }

  #start(request: ContentRequest, key: string) {
    const flight = this.#newFlight(request, () => this.#running.delete(key))
    const landing = flight.run().finally(() => this.#landings.delete(landing))
    this.#landings.add(landing)
    const entry = { flight, landing }
    this.#running.set(key, entry)
    return entry
  }

  #newFlight(request: ContentRequest, onLanded: () => void): Flight {
    const { store, swarm, sequences, onVerified, onUncached, logger } = this.#options
    const { digest } = request
    const liars = new Set<PeerId>()
    return new Flight({
      digest,
      repository: repositoryText(request.repository),
      stage: (size, onProgress) => store.stage(digest, size, onProgress),
      sequence: (onFacts) => sequences.of(request, liars, onFacts),
      onVerified,
      onUncached: (error) => onUncached(digest, error),
      onOrphaned: () => this.#limitOrphans(),
      onLanded,
      onWrong: ({ opened, used }, error) => {
        const names = [...opened].map(({ name }) => name)
        logger.warn({ digest, sources: names, reason: error.message }, 'received wrong content')
        // With several sources it is not known which one lied: none of them is used again for this blob, only one alone is banned.
        const peers = [...opened].filter(({ origin }) => origin === 'peer').map(({ name }) => name)
        for (const peer of peers) liars.add(peer)
        const [only] = peers
        if (only !== undefined && opened.size === 1 && used.size === 1)
          swarm.ban(only, `sent wrong bytes for ${digest}`)
      },
    })
  }

  #limitOrphans(): void {
    const orphans = [...this.#running.values()].map(({ flight }) => flight).filter(({ clients }) => clients === 0)
    for (const flight of orphans.slice(0, -maxOrphans)) flight.abort(new Error('too many transfers without a client'))
  }
}
