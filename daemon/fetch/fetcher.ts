import { algorithmOf, type Digest } from '../../proxy/oci/digest.ts'
import { OciError } from '../../proxy/oci/errors.ts'
import { repositoryText } from '../../proxy/oci/name.ts'
import type { Content, ContentInfo, ContentRequest, ContentSource } from '../../proxy/ports.ts'
import type { Access, Upstream } from '../../proxy/upstream/types.ts'
import type { Rules } from '../rules.ts'
import type { Sharing } from '../share/sharing.ts'
import type { BlobStore } from '../store/blob-store.ts'
import type { BlobRecord } from '../store/metadata.ts'
import type { PeerId, Swarm } from '../swarm/ports.ts'
import { DigestMismatch } from '../verify/mismatch.ts'
import type { Sha256Engine } from '../verify/sha256.ts'
import { type AccessControl, foundIn } from './access.ts'
import { explainedContent, manifestContent, storedContent } from './content.ts'
import { type DownloadTools, NotByChunks, NotForAsker, type WasteReason } from './download/context.ts'
import { Downloads } from './download/downloads.ts'
import { messageOf, nobodyElseIsAsked, noPeerHasIt, toOciError } from './errors.ts'
import { Flight } from './flight.ts'
import { Foresight } from './foresight.ts'
import { LongManifests } from './long-manifests.ts'
import { passedContent, passThrough } from './pass-through.ts'
import type { Publicity } from './publicity.ts'
import { Sequences } from './sequences.ts'
import { Sightings } from './sightings.ts'
import { type BlobSource, ForeignContent } from './source.ts'
import { statElsewhere } from './stat.ts'
import { ToldSizes } from './told-sizes.ts'

interface FetcherOptions {
  readonly store: BlobStore
  readonly swarm: Pick<Swarm, 'self' | 'providers' | 'open' | 'stat' | 'ban'>
  readonly sharing: Pick<Sharing, 'fetch' | 'foresee'>
  /** For what no peer may hear of. */
  readonly lonely: Pick<Sharing, 'fetch'>
  readonly signer: DownloadTools['signer']
  readonly upstream: Upstream
  readonly access: AccessControl
  readonly publicity: Pick<Publicity, 'given' | 'knows' | 'mayTell' | 'mayTellUnasked'>
  readonly engine: Sha256Engine
  readonly rules: Rules
  /** Whether peers may have a blob on disk, as far as is known. */
  readonly isShared: (record: BlobRecord, digest: Digest) => boolean
  /** Whether only known peers are in the swarm; private content leaves the node in no other. */
  readonly isClosed: boolean
  /** How long a cold request waits for peers before upstream is asked, in ms. */
  readonly lookupTimeout: number
  /** How long upstream may take to answer a HEAD before it counts as one that can't be asked, in ms. */
  readonly patience: number
  readonly onFetched: (origin: BlobSource['origin'], bytes: number) => void
  /** A blob was proven by its digest, of so many bytes. */
  readonly onVerified: (bytes: number) => void
  readonly onWasted: (reason: WasteReason, bytes: number) => void
  /** What is fetched is given to clients, and can't be kept. */
  readonly onUncached: DownloadTools['onUncached']
  readonly logger: DownloadTools['logger']
}

/** Flights that nobody waits for any more and that still go on, so that a client's second try finds the blob. */
const maxOrphans = 16

/** The miss path: store, then peers, then upstream; one fetch for each digest, by chunks wherever that is possible. */
export class Fetcher implements ContentSource {
  readonly #options: FetcherOptions
  /** What is fetched by chunks, which peers may have while it arrives. */
  readonly downloads: Downloads
  readonly #longManifests = new LongManifests()
  readonly #sizes = new ToldSizes()
  readonly #sequences: Sequences
  readonly #flights = new Map<string, Flight>()
  readonly #landings = new Set<Promise<void>>()
  readonly #sightings: Sightings
  readonly #foresight: Foresight

  constructor(options: FetcherOptions) {
    this.#options = options
    this.#sequences = new Sequences(options, this.#sizes)
    this.#foresight = new Foresight({ ...options, isPublic: (digest) => this.downloads.isPublic(digest) })
    this.#sightings = new Sightings(options)
    this.downloads = new Downloads({
      lonely: options.lonely,
      tools: { ...options, sizes: this.#sizes, self: () => options.swarm.self },
      passThrough: (request, { size, prefix, start, end, signal }) => {
        const sequence = this.#sequences.of({ ...request, signal }, new Set(), () => {})
        const { digest } = request
        return passThrough({ sequence, digest, size, prefix }, start, end, signal)
      },
    })
  }

  /** Fetches under way. */
  get flights(): number {
    return this.#flights.size + this.downloads.size
  }

  async open(request: ContentRequest): Promise<Content> {
    try {
      const { rules, access } = this.#options
      const isAsked = rules.mustAsk(repositoryText(request.repository))
      const confirmed = isAsked ? await access.confirm(request) : undefined
      return (await this.#held(request, confirmed)) ?? (await this.#fetch(request))
    } catch (error) {
      throw this.#explain(error, request)
    }
  }

  async stat(request: ContentRequest): Promise<ContentInfo> {
    const held = await this.held(request)
    if (held !== undefined) return held
    try {
      const sizeOf = (digest: Digest) => this.#sizes.of(digest)
      return await statElsewhere({ ...this.#options, sizeOf, open: (asked) => this.#fetch(asked) }, request)
    } catch (error) {
      throw this.#explain(error, request)
    }
  }

  async held(request: ContentRequest): Promise<ContentInfo | undefined> {
    try {
      if (this.#options.rules.mustAsk(repositoryText(request.repository))) return undefined
      const held = await this.#held(request)
      await held?.close()
      return held
    } catch (error) {
      throw this.#explain(error, request)
    }
  }

  /** Ends all flights, and waits until they have let go of the store. */
  async close(): Promise<void> {
    for (const flight of this.#flights.values()) flight.abort(new Error('the node is stopping'))
    await Promise.all([...this.#landings, this.downloads.close(), this.#sightings.close()])
  }

  /** From the store, if the asker may have it. @param confirmed what upstream said to this very request */
  async #held(request: ContentRequest, confirmed?: Access): Promise<Content | undefined> {
    const { store, access, rules, logger } = this.#options
    const { digest, kind, signal } = request
    const record = store.record(digest)
    if (record === undefined) return undefined
    const repository = repositoryText(request.repository)
    const place = foundIn(request, record.repositories)
    // The registry has to show that it has it at all.
    if (!record.public && place === 'elsewhere') return undefined
    const granted = confirmed ?? (record.public ? 'public' : await access.check(request, place))
    if (granted === undefined) return undefined
    if (record.public && confirmed === undefined) this.#sightings.given(request, record)
    else if (granted !== 'foreign' && place !== 'elsewhere' && rules.mayCache(repository)) {
      await store.addFacts(digest, { mediaType: undefined, public: granted === 'public', repository })
    }
    const blob = await store.openBlob(digest)
    if (blob === undefined) return undefined
    const drop = async (error: unknown) => {
      logger.warn({ digest, reason: messageOf(error) }, 'a blob on disk can not be read; it is dropped')
      await store.remove(digest)
    }
    const content = storedContent(blob, drop)
    if (kind === 'blob') return content
    try {
      return await this.#manifest(content, request)
    } catch (error) {
      if (signal.aborted || error instanceof OciError) throw error
      // What could not be read was dropped by the reader.
      if (error instanceof DigestMismatch) await drop(error)
      return undefined
    }
  }

  async #fetch(request: ContentRequest): Promise<Content> {
    const { mayShare } = this.#options.rules
    const isShared = mayShare(repositoryText(request.repository))
    const content = await (isShared ? this.#byAnyWay(request) : this.#byUpstreamAlone(request)).catch(
      (error: unknown) => {
        if (request.signal.aborted || !(error instanceof ForeignContent)) throw error
        return this.#passed(request)
      },
    )
    const explained = explainedContent(content, (error) => this.#explain(error, request))
    if (request.kind === 'blob') return explained
    return await this.#manifest(explained, request)
  }

  async #manifest(content: Content, request: ContentRequest): Promise<Content> {
    const onRead = (manifest: Uint8Array) => {
      this.#sizes.passes(manifest)
      this.#foresight.passes(request, manifest).catch(() => {})
    }
    return await manifestContent(content, request.digest, request.signal, this.#longManifests, onRead)
  }

  /** By chunks; as one stream of bytes where that can't be, or the one that is under way is of no use to the asker. */
  async #byAnyWay(request: ContentRequest): Promise<Content> {
    try {
      if (algorithmOf(request.digest) !== 'sha256') throw new NotByChunks('only sha256 has checkpoints')
      return await this.downloads.open(request, () => this.#options.publicity.mayTell(request))
    } catch (error) {
      if (request.signal.aborted || !(error instanceof NotByChunks || error instanceof NotForAsker)) throw error
      return await this.#fly(request).open(request.signal)
    }
  }

  /** Without a word to peers, but from what is fetched for another repository already. */
  async #byUpstreamAlone(request: ContentRequest): Promise<Content> {
    const joined = await this.downloads.join(request).catch((error: unknown) => {
      if (request.signal.aborted || !(error instanceof NotForAsker)) throw error
    })
    if (joined !== undefined) return joined
    const mayCache = this.#options.rules.mayCache(repositoryText(request.repository))
    if (mayCache) return await this.#fly(request).open(request.signal)
    return await this.#passed(request)
  }

  /** For this asker alone, and kept nowhere. */
  async #passed(request: ContentRequest): Promise<Content> {
    const newSequence = (onFacts: (facts: ContentInfo) => void) => this.#sequences.of(request, new Set(), onFacts, true)
    return await passedContent(newSequence, request.digest, request.signal)
  }

  /** The flight of an asker for a digest in a repository, which is started if there is none. */
  #fly(request: ContentRequest): Flight {
    const { kind, digest, repository } = request
    const key = `${kind} ${digest} ${this.#options.access.identityOf(request)} ${repositoryText(repository)}`
    const running = this.#flights.get(key)
    if (running !== undefined) return running
    const flight = this.#newFlight(request, () => this.#flights.delete(key))
    this.#flights.set(key, flight)
    const landing = flight.run().finally(() => this.#landings.delete(landing))
    this.#landings.add(landing)
    return flight
  }

  #newFlight(request: ContentRequest, onLanded: () => void): Flight {
    const { store, swarm, onVerified, onUncached, logger } = this.#options
    const { digest } = request
    const liars = new Set<PeerId>()
    return new Flight({
      digest,
      repository: repositoryText(request.repository),
      stage: (size, onProgress) => store.stage(digest, size, onProgress),
      sequence: (onFacts) => this.#sequences.of(request, liars, onFacts),
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
    const orphans = [...this.#flights.values()].filter(({ clients }) => clients === 0)
    for (const flight of orphans.slice(0, -maxOrphans)) flight.abort(new Error('too many transfers without a client'))
  }

  #explain(error: unknown, request: ContentRequest): unknown {
    if (request.signal.aborted) return error
    const repository = repositoryText(request.repository)
    const { mayShare, mustAsk } = this.#options.rules
    const others = mayShare(repository) && !mustAsk(repository) ? noPeerHasIt : nobodyElseIsAsked
    return toOciError(error, request.kind, `${repository}@${request.digest}`, others)
  }
}
