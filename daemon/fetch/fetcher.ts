import { algorithmOf, type Digest } from '../../proxy/oci/digest.ts'
import { OciError } from '../../proxy/oci/errors.ts'
import { subjectOf } from '../../proxy/oci/known-lists.ts'
import { repositoryText } from '../../proxy/oci/name.ts'
import type { Content, ContentInfo, ContentRequest, ContentSource } from '../../proxy/ports.ts'
import type { Access, Upstream } from '../../proxy/upstream/types.ts'
import type { Rules } from '../rules.ts'
import type { Sharing } from '../share/sharing.ts'
import type { BlobStore } from '../store/blob-store.ts'
import type { BlobRecord, Metadata } from '../store/metadata.ts'
import type { Swarm } from '../swarm/ports.ts'
import { DigestMismatch } from '../verify/mismatch.ts'
import type { Sha256Engine } from '../verify/sha256.ts'
import { type AccessControl, foundIn } from './access.ts'
import { Completion, OtherSize } from './completion.ts'
import { explainedContent, manifestContent, storedContent } from './content.ts'
import { type DownloadTools, NotByChunks, NotForAsker, type WasteReason } from './download/context.ts'
import { Downloads } from './download/downloads.ts'
import { messageOf, nobodyElseIsAsked, noPeerHasIt, toOciError } from './errors.ts'
import { Flights } from './flights.ts'
import { Foresight } from './foresight.ts'
import { LongManifests } from './long-manifests.ts'
import { passedContent, passThrough } from './pass-through.ts'
import { mayPeersHave } from './peers-may-have.ts'
import type { Publicity } from './publicity.ts'
import { Sequences } from './sequences.ts'
import { Sightings } from './sightings.ts'
import { type BlobSource, ForeignContent } from './source.ts'
import { statElsewhere } from './stat.ts'
import { ToldSizes } from './told-sizes.ts'
import { waitFor } from './wait.ts'

interface FetcherOptions {
  readonly store: BlobStore
  readonly metadata: Pick<Metadata, 'putReferrer'>
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
  /** What clients had already of images is fetched, too: bytes a second and bytes of an image, as in {@link Completion}. */
  readonly completion: { readonly rate: number; readonly limit: number; readonly rightsLast: number }
  readonly onFetched: (origin: BlobSource['origin'], bytes: number) => void
  /** A blob was proven by its digest, of so many bytes. */
  readonly onVerified: (bytes: number) => void
  readonly onWasted: (reason: WasteReason, bytes: number) => void
  /** What is fetched is given to clients, and can't be kept. */
  readonly onUncached: DownloadTools['onUncached']
  readonly logger: DownloadTools['logger']
}

/** How long a fetch that nobody reads is waited for, in ms: it has shorter deadlines of its own for whatever stands still. */
const longestFetch = 3_600_000

/** The miss path: store, then peers, then upstream; one fetch for each digest, by chunks wherever that is possible. */
export class Fetcher implements ContentSource {
  readonly #options: FetcherOptions
  /** What is fetched by chunks, which peers may have while it arrives. */
  readonly downloads: Downloads
  readonly #longManifests = new LongManifests()
  readonly #sizes = new ToldSizes()
  readonly #sequences: Sequences
  readonly #flights: Flights
  readonly #sightings: Sightings
  readonly #foresight: Foresight
  readonly #completion: Completion

  constructor(options: FetcherOptions) {
    this.#options = options
    this.#sequences = new Sequences(options, this.#sizes)
    this.#flights = new Flights({ ...options, sequences: this.#sequences })
    const isPublic = (digest: Digest) => this.downloads.isPublic(digest)
    const { publicity } = options
    this.#foresight = new Foresight({
      ...options,
      mayPeersHave: (manifest) =>
        mayPeersHave({ ...options, isPublic, mayTell: () => publicity.knows(manifest) }, manifest),
    })
    this.#sightings = new Sightings(options)
    this.#completion = new Completion({
      ...options,
      ...options.completion,
      // No client waits for it, and so upstream may be asked; while it can't be, peers are told of what a fetch would tell them.
      mayPeersHave: (manifest) =>
        mayPeersHave({ ...options, isPublic, mayTell: () => publicity.mayTell(manifest) }, manifest),
      hold: (request, size) => this.#hold(request, size),
    })
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
    const ends = request.isExact === true ? [] : [this.#completion.asked(request)]
    const end = () => {
      for (const one of ends.splice(0)) one()
    }
    try {
      let content = await this.#here(request)
      if (content === undefined) {
        ends.push(this.#completion.fetches(request))
        content = await this.#fetch(request)
      }
      const { close } = content
      return { ...content, close: () => close().finally(end) }
    } catch (error) {
      end()
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
    const parts = [this.#flights, this.downloads, this.#sightings, this.#completion]
    await Promise.all(parts.map((part) => part.close()))
  }

  /** What is on disk, where upstream does not have to be asked first or says that it may be given. */
  async #here(request: ContentRequest): Promise<Content | undefined> {
    const { rules, access } = this.#options
    const isAsked = rules.mustAsk(repositoryText(request.repository))
    return await this.#held(request, isAsked ? await access.confirm(request) : undefined)
  }

  /**
   * Fetches content for nobody to read.
   * @param size in bytes, as its manifest says
   * @throws {OtherSize} or why else it can't be had, or be kept; the signal's reason
   */
  async #hold(request: ContentRequest, size: number): Promise<void> {
    const { digest, signal } = request
    let content: Content | undefined
    let unwanted: Error | undefined
    try {
      content = (await this.#here(request)) ?? (await this.#fetch(request))
      if (content.size !== size) {
        unwanted = new OtherSize(digest, content.size, size)
        throw unwanted
      }
      const landing = this.downloads.landing(digest) ?? this.#flights.landing(request)
      if (landing !== undefined) await waitFor(landing, longestFetch, signal)
    } finally {
      await content?.close()
      if (signal.aborted) unwanted ??= signal.reason
      if (unwanted !== undefined) {
        this.downloads.abandon(digest, unwanted)
        this.#flights.abandon(request, unwanted)
      }
    }
    if (!this.#options.store.has(digest)) throw new Error(`${digest} could not be kept`)
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
      const isDropped = await store.drop(digest, blob.record, error)
      const text = isDropped ? 'it is dropped' : 'it was pushed here, and stays'
      logger.warn({ digest, reason: messageOf(error) }, `a blob on disk can not be read; ${text}`)
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
      if (request.isExact !== true) this.#completion.passes(request, manifest)
      const subject = subjectOf(manifest)
      if (subject !== undefined) this.#options.metadata.putReferrer(subject, request.digest, Date.now()).catch(() => {})
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
      return await this.#flights.open(request)
    }
  }

  /** Without a word to peers, but from what is fetched for another repository already. */
  async #byUpstreamAlone(request: ContentRequest): Promise<Content> {
    const joined = await this.downloads.join(request).catch((error: unknown) => {
      if (request.signal.aborted || !(error instanceof NotForAsker)) throw error
    })
    if (joined !== undefined) return joined
    const mayCache = this.#options.rules.mayCache(repositoryText(request.repository))
    if (mayCache) return await this.#flights.open(request)
    return await this.#passed(request)
  }

  /** For this asker alone, and kept nowhere. */
  async #passed(request: ContentRequest): Promise<Content> {
    const newSequence = (onFacts: (facts: ContentInfo) => void) => this.#sequences.of(request, new Set(), onFacts, true)
    return await passedContent(newSequence, request.digest, request.signal)
  }

  #explain(error: unknown, request: ContentRequest): unknown {
    if (request.signal.aborted) return error
    const repository = repositoryText(request.repository)
    const { mayShare, mustAsk } = this.#options.rules
    const others = mayShare(repository) && !mustAsk(repository) ? noPeerHasIt : nobodyElseIsAsked
    return toOciError(error, request.kind, `${repository}@${request.digest}`, others)
  }
}
