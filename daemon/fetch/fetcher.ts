import { OciError } from '../../proxy/oci/errors.ts'
import { maxManifestBytes } from '../../proxy/oci/manifest.ts'
import { repositoryText } from '../../proxy/oci/name.ts'
import type { Content, ContentInfo, ContentRequest, ContentSource } from '../../proxy/ports.ts'
import type { Upstream } from '../../proxy/upstream/types.ts'
import type { BlobStore } from '../store/blob-store.ts'
import type { PeerId, Swarm } from '../swarm/ports.ts'
import { DigestMismatch } from '../verify/mismatch.ts'
import type { AccessControl } from './access.ts'
import { explainedContent, manifestContent, storedContent } from './content.ts'
import { isOffline, messageOf, toOciError } from './errors.ts'
import { Flight } from './flight.ts'
import { Session } from './session.ts'
import { type BlobSource, peerSource, upstreamSource } from './source.ts'
import { withPatience } from './wait.ts'

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
  /** How long upstream may take to answer a HEAD before it counts as one that can't be asked, in ms. */
  readonly patience: number
  readonly onFetched: (origin: BlobSource['origin'], bytes: number) => void
  readonly logger: Logger
}

/** Flights that nobody waits for any more and that still go on, so that a client's second try finds the blob. */
const maxOrphans = 16

/** How long HEAD looks for a peer when upstream can't be asked, in ms. */
const statLookupLimit = 5_000

/** How long a request waits for a flight that was started for another repository, in ms; its registry may be a worse one. */
const foreignPatience = 1_000

/** A flight and what it was started for. */
interface Entry {
  readonly flight: Flight
  readonly repository: string
}

/** The miss path: store, then peers, then upstream, with one flight for each digest. */
export class Fetcher implements ContentSource {
  readonly #options: FetcherOptions
  readonly #flights = new Map<string, Entry>()
  readonly #landings = new Set<Promise<void>>()

  constructor(options: FetcherOptions) {
    this.#options = options
  }

  get flights(): number {
    return this.#flights.size
  }

  async open(request: ContentRequest): Promise<Content> {
    try {
      return (await this.#held(request)) ?? (await this.#fetch(request))
    } catch (error) {
      throw this.#explain(error, request)
    }
  }

  async stat(request: ContentRequest): Promise<ContentInfo> {
    try {
      const held = await this.#held(request)
      if (held === undefined) return await this.#statElsewhere(request)
      await held.close()
      return held
    } catch (error) {
      throw this.#explain(error, request)
    }
  }

  /** Ends all flights, and waits until they have let go of the store. */
  async close(): Promise<void> {
    for (const { flight } of this.#flights.values()) flight.abort(new Error('the node is stopping'))
    await Promise.all(this.#landings)
  }

  /** From the store, if the asker may have it. */
  async #held(request: ContentRequest): Promise<Content | undefined> {
    const { store, access, logger } = this.#options
    const { digest, kind, signal } = request
    const record = store.record(digest)
    if (record === undefined) return undefined
    const repository = repositoryText(request.repository)
    const isKnown = record.repositories.includes(repository)
    const granted = record.public ? 'public' : await access.check(request, isKnown)
    if (granted === undefined) return undefined
    if (!record.public) await store.addFacts(digest, { mediaType: undefined, public: granted === 'public', repository })
    const blob = await store.openBlob(digest)
    if (blob === undefined) return undefined
    const drop = async (error: unknown) => {
      logger.warn({ digest, reason: messageOf(error) }, 'a blob on disk can not be read; it is dropped')
      await store.remove(digest)
    }
    const content = storedContent(blob, drop)
    if (kind === 'blob') return content
    try {
      return await manifestContent(content, digest, signal)
    } catch (error) {
      if (signal.aborted || error instanceof OciError) throw error
      // What could not be read was dropped by the reader.
      if (error instanceof DigestMismatch) await drop(error)
      return undefined
    }
  }

  /** From a flight: the one that is under way for the digest, or the request's own where that one is of no use to it. */
  async #fetch(request: ContentRequest): Promise<Content> {
    const shared = this.#fly(request, this.#sharedKey(request))
    const content = await this.#join(shared, request).catch((error: unknown) => {
      if (request.signal.aborted || shared.repository === repositoryText(request.repository)) throw error
      const own = this.#fly(request, `${this.#sharedKey(request)} ${repositoryText(request.repository)}`)
      return own.flight.open(request.signal)
    })
    const explained = explainedContent(content, (error) => this.#explain(error, request))
    return request.kind === 'manifest' ? await manifestContent(explained, request.digest, request.signal) : explained
  }

  #join({ flight, repository }: Entry, request: ContentRequest): Promise<Content> {
    if (repository === repositoryText(request.repository)) return flight.open(request.signal)
    return flight.open(AbortSignal.any([request.signal, AbortSignal.timeout(foreignPatience)]))
  }

  /** Whatever repository it is asked for in, content by digest is the same. Private content has a flight for each asker. */
  #sharedKey(request: ContentRequest): string {
    return `${request.kind} ${request.digest} ${this.#options.access.identityOf(request)}`
  }

  /** The flight under a key, which is started if there is none. */
  #fly(request: ContentRequest, key: string): Entry {
    const running = this.#flights.get(key)
    if (running !== undefined) return running
    const onLanded = () => this.#flights.delete(key)
    const entry = { flight: this.#newFlight(request, onLanded), repository: repositoryText(request.repository) }
    this.#flights.set(key, entry)
    const landing = entry.flight.run().finally(() => this.#landings.delete(landing))
    this.#landings.add(landing)
    return entry
  }

  #newFlight(request: ContentRequest, onLanded: () => void): Flight {
    const { store, swarm, logger } = this.#options
    const { digest } = request
    const liars = new Set<PeerId>()
    return new Flight({
      digest,
      repository: repositoryText(request.repository),
      stage: (size, onProgress) => store.stage(digest, size, onProgress),
      session: (onFacts) => this.#newSession(request, liars, onFacts),
      onUncached: (error) =>
        logger.warn({ digest, reason: messageOf(error) }, 'passing a blob through without storing it'),
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
      upstreamFirst: excluded.size > 0,
      maxBytes: request.kind === 'manifest' ? maxManifestBytes : Number.MAX_SAFE_INTEGER,
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
    const { upstream, swarm, access, patience } = this.#options
    try {
      const found = await withPatience(patience, request.signal, (signal) => upstream.stat({ ...request, signal }))
      return { ...found, origin: 'upstream' }
    } catch (error) {
      if (!isOffline(error)) throw error
      const signal = AbortSignal.any([request.signal, AbortSignal.timeout(statLookupLimit)])
      for await (const peer of swarm.providers(request.digest, signal)) {
        const found = await swarm.stat(peer, request.digest, signal).catch(() => undefined)
        if (found === undefined) continue
        const isKnown = found.repositories.includes(repositoryText(request.repository))
        const granted = found.access === 'public' ? 'public' : await access.check(request, isKnown)
        if (granted !== undefined) return { ...found, origin: 'peer' }
      }
      throw error
    }
  }

  #limitOrphans(): void {
    const orphans = [...this.#flights.values()].filter(({ flight }) => flight.clients === 0)
    for (const { flight } of orphans.slice(0, -maxOrphans))
      flight.abort(new Error('too many transfers without a client'))
  }

  #explain(error: unknown, request: ContentRequest): unknown {
    if (request.signal.aborted) return error
    return toOciError(error, request.kind, `${repositoryText(request.repository)}@${request.digest}`)
  }
}
