import type { Digest } from '../../../proxy/oci/digest.ts'
import { repositoryText } from '../../../proxy/oci/name.ts'
import type { Content, ContentRequest } from '../../../proxy/ports.ts'
import type { SharedBlob } from '../../swarm/ports.ts'
import type { PassedRange } from '../pass-through.ts'
import { type DownloadTools, NotForAsker } from './context.ts'
import { Download } from './download.ts'

interface DownloadsOptions {
  readonly tools: DownloadTools
  /** For what no peer may hear of. */
  readonly lonely: DownloadTools['sharing']
  readonly passThrough: (request: ContentRequest, passed: PassedRange) => AsyncIterable<Uint8Array>
}

interface Running {
  readonly download: Download
  /** That it was started for. */
  readonly repository: string
  /** Whether peers hear of it. */
  readonly isTold: boolean
  /** Ends with it. */
  readonly landing: Promise<void>
}

/** Downloads that nobody waits for any more and that still go on, so that a client's second try finds the blob. */
const maxOrphans = 16

/** How long a request waits for one that was started for another repository, in ms; its registry may be a worse one. */
const foreignPatience = 1_000

/** The fetches by chunks that are under way: one for each digest, whoever asks for it. */
export class Downloads {
  readonly #options: DownloadsOptions
  /** Of fetches that no peer may hear of. */
  readonly #alone: DownloadTools
  readonly #running = new Map<Digest, Running>()
  readonly #landings = new Set<Promise<void>>()

  constructor(options: DownloadsOptions) {
    this.#options = options
    const { tools, lonely: sharing } = options
    const swarm: DownloadTools['swarm'] = {
      async *providers() {},
      open: (...asked) => tools.swarm.open(...asked),
      ban: (...banned) => tools.swarm.ban(...banned),
    }
    this.#alone = { ...tools, sharing, swarm, isAlone: true }
  }

  get size(): number {
    return this.#running.size
  }

  /** Bytes that fetches hold, and that nothing has proven yet. */
  get provisionalBytes(): number {
    return [...this.#running.values()].reduce((sum, { download }) => sum + (download.provisional?.heldBytes ?? 0), 0)
  }

  /**
   * Joins the download of a digest, or starts it.
   * @param mayTell whether peers may hear of it; asked only where none is under way, as the answer may take a while
   * @throws why it can't be had by chunks, or not by this asker
   */
  async open(request: ContentRequest, mayTell: () => Promise<boolean>): Promise<Content> {
    const joined = await this.join(request)
    if (joined !== undefined) return joined
    const isTold = await mayTell()
    // Somebody else may have started it meanwhile.
    return await this.#open(request, this.#running.get(request.digest) ?? this.#start(request, isTold))
  }

  /** As `open`, without starting one; undefined where none is under way. */
  async join(request: ContentRequest): Promise<Content | undefined> {
    const running = this.#running.get(request.digest)
    return running && (await this.#open(request, running))
  }

  /** Ends with the download of a digest; undefined where none is under way. */
  landing(digest: Digest): Promise<void> | undefined {
    return this.#running.get(digest)?.landing
  }

  /** Ends a download that nobody waits for. What has come of it is gone on with later. */
  abandon(digest: Digest, reason: Error): void {
    const download = this.#running.get(digest)?.download
    if (download?.clients === 0) download.abort(reason)
  }

  /** Whether anybody may have what is being fetched, as far as its sources have said; undefined where it is not, or none has. */
  isPublic(digest: Digest): boolean | undefined {
    return this.#running.get(digest)?.download.facts?.public
  }

  /** What is held of a blob that is being fetched, for peers. */
  share(digest: Digest): SharedBlob | undefined {
    const running = this.#running.get(digest)
    if (running?.isTold !== true) return undefined
    return running.download.share((facts) => facts.public || this.#options.tools.isClosed)
  }

  /** Ends all, and waits until they have let go of the store. */
  async close(): Promise<void> {
    for (const { download } of this.#running.values()) download.abort(new Error('the node is stopping'))
    await Promise.all(this.#landings)
  }

  async #open(request: ContentRequest, { download, repository }: Running): Promise<Content> {
    if (repository === repositoryText(request.repository)) return await download.open(request)
    const signal = AbortSignal.any([request.signal, AbortSignal.timeout(foreignPatience)])
    return await download.open({ ...request, signal }).catch((error: unknown) => {
      // Its own registry may do better.
      throw request.signal.aborted ? error : new NotForAsker(error)
    })
  }

  #start(request: ContentRequest, isTold: boolean): Running {
    const { passThrough } = this.#options
    const tools = isTold ? this.#options.tools : this.#alone
    const download: Download = new Download({
      tools,
      request,
      passThrough,
      onOrphaned: () => this.#limitOrphans(),
      onLanded: () => this.#running.delete(request.digest),
    })
    const landing = download.run().finally(() => this.#landings.delete(landing))
    this.#landings.add(landing)
    const entry = { download, repository: repositoryText(request.repository), isTold, landing }
    this.#running.set(request.digest, entry)
    return entry
  }

  #limitOrphans(): void {
    const orphans = [...this.#running.values()].filter(({ download }) => download.clients === 0)
    for (const { download } of orphans.slice(0, -maxOrphans)) {
      download.abort(new Error('too many transfers without a client'))
    }
  }
}
