import { maxManifestBytes } from '../../proxy/oci/manifest.ts'
import { repositoryText } from '../../proxy/oci/name.ts'
import type { Content, ContentInfo, ContentRequest, ContentSource } from '../../proxy/ports.ts'
import type { Upstream } from '../../proxy/upstream/types.ts'
import type { BlobStore } from '../store/blob-store.ts'
import type { PeerId, Swarm } from '../swarm/ports.ts'
import type { AccessControl } from './access.ts'
import { explainedContent, manifestContent, storedContent } from './content.ts'
import { isOffline, messageOf, toOciError } from './errors.ts'
import { Flight } from './flight.ts'
import { Session } from './session.ts'
import { type BlobSource, peerSource, upstreamSource } from './source.ts'

interface Logger {
  debug(facts: object, message: string): void
  warn(facts: object, message: string): void
}

interface FetcherOptions {
  readonly store: BlobStore
  readonly swarm: Pick<Swarm, 'providers' | 'open' | 'stat' | 'ban'>
  readonly upstream: Upstream
  readonly access: AccessControl
  /** How long a cold request waits for peers before upstream is asked, in ms. */
  readonly lookupTimeout: number
  readonly onFetched: (origin: BlobSource['origin'], bytes: number) => void
  readonly logger: Logger
}

/** Flights that nobody waits for any more and that still go on, so that a client's second try finds the blob. */
const maxOrphans = 16

/** How long HEAD looks for a peer when upstream can't be asked, in ms. */
const statLookupLimit = 5_000

/** The miss path: store, then peers, then upstream, with one flight for each digest. */
export class Fetcher implements ContentSource {
  readonly #options: FetcherOptions
  readonly #flights = new Map<string, Flight>()
  readonly #landings = new Set<Promise<void>>()

  constructor(options: FetcherOptions) {
    this.#options = options
  }

  get flights(): number {
    return this.#flights.size
  }

  async open(request: ContentRequest): Promise<Content> {
    try {
      const content = (await this.#held(request)) ?? (await this.#fetch(request))
      return request.kind === 'manifest' ? await manifestContent(content, request.signal) : content
    } catch (error) {
      throw this.#explain(error, request)
    }
  }

  async stat(request: ContentRequest): Promise<ContentInfo> {
    try {
      const held = await this.#held(request)
      if (held === undefined) return await this.#statElsewhere(request)
      const content = request.kind === 'manifest' ? await manifestContent(held, request.signal) : held
      await content.close()
      return content
    } catch (error) {
      throw this.#explain(error, request)
    }
  }

  /** Ends all flights, and waits until they have let go of the store. */
  async close(): Promise<void> {
    for (const flight of this.#flights.values()) flight.abort(new Error('the node is stopping'))
    await Promise.all(this.#landings)
  }

  /** From the store, if the asker may have it. */
  async #held(request: ContentRequest): Promise<Content | undefined> {
    const { store, access } = this.#options
    const record = store.record(request.digest)
    if (record === undefined) return undefined
    const known = record.repositories.includes(repositoryText(request.repository))
    if (!record.public && !(await access.mayHave(request, known))) return undefined
    const blob = await store.openBlob(request.digest)
    return blob && storedContent(blob)
  }

  async #fetch(request: ContentRequest): Promise<Content> {
    const content = await this.#fly(request).open(request.signal)
    return explainedContent(content, (error) => this.#explain(error, request))
  }

  /** The flight for the content, which is started if there is none. Private content has one for each asker. */
  #fly(request: ContentRequest): Flight {
    const key = `${request.digest} ${this.#options.access.identityOf(request)}`
    const running = this.#flights.get(key)
    if (running !== undefined) return running
    const flight = this.#newFlight(request)
    this.#flights.set(key, flight)
    this.#limitOrphans()
    const landing = flight.run().finally(() => {
      this.#flights.delete(key)
      this.#landings.delete(landing)
    })
    this.#landings.add(landing)
    return flight
  }

  #newFlight(request: ContentRequest): Flight {
    const { store, swarm, logger } = this.#options
    const { digest, kind } = request
    const liars = new Set<PeerId>()
    return new Flight({
      digest,
      repository: repositoryText(request.repository),
      maxBytes: kind === 'manifest' ? maxManifestBytes : Number.POSITIVE_INFINITY,
      stage: (size, onProgress) => store.stage(digest, size, onProgress),
      session: (onFacts) => this.#newSession(request, liars, onFacts),
      onUncached: (error) =>
        logger.warn({ digest, reason: messageOf(error) }, 'passing a blob through without storing it'),
      onMismatch: (session) => {
        const peers = [...session.used].filter((source) => source.origin === 'peer').map((source) => source.name)
        logger.warn({ digest, sources: [...session.used].map((source) => source.name) }, 'received wrong bytes')
        for (const peer of peers) liars.add(peer)
        // With several sources it is not known which one lied; none of them is used again for this blob.
        if (peers.length === 1 && session.used.size === 1)
          swarm.ban(peers[0] as PeerId, `sent wrong bytes for ${digest}`)
      },
    })
  }

  #newSession(
    request: ContentRequest,
    excluded: ReadonlySet<PeerId>,
    onFacts: (facts: ContentInfo & { public: boolean }) => void,
  ): Session {
    const { upstream, access, lookupTimeout, onFetched, logger } = this.#options
    return new Session({
      peers: (signal) => this.#peers(request, excluded, signal),
      upstream: upstreamSource(upstream, access, request),
      lookupTimeout,
      onOpen: ({ origin }, { size, mediaType, public: isPublic }) =>
        onFacts({ size, mediaType, origin, public: isPublic }),
      onBytes: ({ origin }, bytes) => onFetched(origin, bytes),
      onFailure: ({ name }, error) =>
        logger.debug({ digest: request.digest, source: name, reason: messageOf(error) }, 'source failed'),
    })
  }

  async *#peers(
    request: ContentRequest,
    excluded: ReadonlySet<PeerId>,
    signal: AbortSignal,
  ): AsyncGenerator<BlobSource> {
    const { swarm, access } = this.#options
    for await (const peer of swarm.providers(request.digest, signal)) {
      if (!excluded.has(peer)) yield peerSource(swarm, access, request, peer)
    }
  }

  /** HEAD of what is not held: upstream knows best and needs to move nothing; peers when it can't be asked. */
  async #statElsewhere(request: ContentRequest): Promise<ContentInfo> {
    const { upstream, swarm, access } = this.#options
    try {
      return { ...(await upstream.stat(request)), origin: 'upstream' }
    } catch (error) {
      if (!isOffline(error)) throw error
      const signal = AbortSignal.any([request.signal, AbortSignal.timeout(statLookupLimit)])
      for await (const peer of swarm.providers(request.digest, signal)) {
        const found = await swarm.stat(peer, request.digest, signal).catch(() => undefined)
        if (found === undefined) continue
        if (found.access === 'public' || (await access.mayHave(request, false))) return { ...found, origin: 'peer' }
      }
      throw error
    }
  }

  #limitOrphans(): void {
    const orphans = [...this.#flights.values()].filter((flight) => flight.clients === 0)
    // The newest has just been made and is about to get its client.
    const excess = orphans.slice(0, -1).slice(maxOrphans)
    for (const flight of excess) flight.abort(new Error('too many transfers without a client'))
  }

  #explain(error: unknown, request: ContentRequest): unknown {
    if (request.signal.aborted) return error
    return toOciError(error, request.kind, `${repositoryText(request.repository)}@${request.digest}`)
  }
}
