import type { Digest } from '../../../proxy/oci/digest.ts'
import { repositoryText } from '../../../proxy/oci/name.ts'
import type { Content, ContentRequest } from '../../../proxy/ports.ts'
import { isUnstorable } from '../../store/errors.ts'
import type { PartialBlob } from '../../store/partial-blob.ts'
import type { PeerId, SharedBlob } from '../../swarm/ports.ts'
import { DigestMismatch } from '../../verify/mismatch.ts'
import { quarterBytes } from '../../verify/quarter.ts'
import { Notifier } from '../notifier.ts'
import type { PassedRange } from '../pass-through.ts'
import { Admission } from './admission.ts'
import type { Assembly } from './assembly.ts'
import { RunningAttempt } from './attempt.ts'
import { commit } from './commit.ts'
import { MAX_ATTEMPTS, MAX_WRONG_SIZES } from './constants.ts'
import { type DownloadFacts, type DownloadTools, NotByChunks, NotForAsker, SizeConflict } from './context.ts'
import { KnownSize } from './known-size.ts'
import { hashedPrefix, type Reader, type Reading, readAsItComes } from './reader.ts'
import { sharedPart } from './shared-part.ts'

interface DownloadOptions {
  readonly tools: DownloadTools
  /** The first one who asked; upstream is asked in its name. */
  readonly request: ContentRequest
  /** The bytes for a client that the store has no room for, which are asked for in its own name. */
  readonly passThrough: (request: ContentRequest, passed: PassedRange) => AsyncIterable<Uint8Array>
  /** The last client has left before the end. */
  readonly onOrphaned: () => void
  /** It is over; called before its file is closed. */
  readonly onLanded: () => void
}

/**
 * One fetch of one blob by chunks, whoever waits for it: clients of this node, and peers. Chunks go to a file and from there
 * to all of them, so a slow client holds up neither the fetch nor others, and a client that leaves stops nothing.
 */
export class Download {
  readonly digest: Digest
  readonly #options: DownloadOptions
  readonly #changed = new Notifier()
  readonly #abort = new AbortController()
  readonly #excluded = new Set<PeerId>()
  readonly #readings = new Set<Reading>()
  readonly #files = new Set<Assembly>()
  readonly #admission: Admission
  readonly #size: KnownSize
  #attempt: RunningAttempt
  #failure: Error | undefined
  #clients = 0
  /** Those of them that have not been told the size. */
  #waiting = 0
  /** Clients and peers that read from the files. */
  #users = 0
  #hasLanded = false

  constructor(options: DownloadOptions) {
    this.#options = options
    this.digest = options.request.digest
    const { tools, request } = options
    this.#size = new KnownSize(tools.sizes.of(this.digest))
    this.#attempt = this.#newAttempt()
    this.#admission = new Admission({ first: request, access: tools.access, state: () => this.#attempt })
  }

  get clients(): number {
    return this.#clients
  }

  /** What is held of it while nothing has proven it yet; undefined before and after. */
  get provisional(): PartialBlob | undefined {
    const { assembly } = this.#attempt
    return this.#hasLanded || assembly?.proven !== undefined ? undefined : assembly?.partial
  }

  /** What is known, as soon as a source has answered. */
  get facts(): DownloadFacts | undefined {
    return this.#attempt.facts
  }

  abort(reason: Error): void {
    this.#abort.abort(reason)
  }

  /** Runs until the blob is in the store or can't be had; never throws. */
  async run(): Promise<void> {
    try {
      const assembly = await this.#fetch()
      this.#files.add(assembly)
      this.#news()
      const repository = repositoryText(this.#options.request.repository)
      await commit(assembly, { ...this.facts, repository }, this.#options.tools.onUncached)
    } catch (error) {
      if (isUnstorable(error)) this.#options.tools.onUncached(this.digest, error)
      this.#failure = error instanceof Error ? error : new Error(String(error))
    }
    this.#attempt.release(this.#failure === undefined)
    this.#hasLanded = true
    this.#news()
    // Nobody may join any more when the files are closed.
    this.#options.onLanded()
    await this.#closeFilesIfUnused()
  }

  /**
   * Joins: waits until a source has answered. Private content is given to those only whom upstream lets have it.
   * @throws why the blob can't be had, or the signal's reason
   */
  async open(request: ContentRequest): Promise<Content> {
    this.#clients++
    this.#users++
    try {
      const facts = await this.#answered(request.signal)
      const { size, mediaType, origin } = facts
      const admitted = await this.#admission.admit(request, facts)
      const isRevoked = () => this.#admission.isTakenBack(admitted)
      let isClosed = false
      return {
        size,
        mediaType,
        origin,
        isComing: () => this.#attempt.isFromUpstream,
        read: (start, end, signal) => this.#read({ size, request, isRevoked }, start, end, signal),
        close: async () => {
          if (isClosed) return
          isClosed = true
          await this.#leave()
        },
      }
    } catch (error) {
      await this.#leave()
      throw error
    }
  }

  /** For peers: what is held of it. Undefined before a source has answered. */
  share(isShared: (facts: DownloadFacts) => boolean): SharedBlob | undefined {
    const { facts } = this
    const { assembly } = this.#attempt
    if (facts === undefined || assembly === undefined || this.#hasLanded || !isShared(facts)) return undefined
    this.#users++
    return sharedPart({
      assembly,
      facts,
      isShared: () => this.facts !== undefined && isShared(this.facts) && assembly === this.#attempt.assembly,
      hasEnded: () => this.#hasLanded,
      changed: this.#changed,
      signal: this.#abort.signal,
      onClose: async () => {
        this.#users--
        await this.#closeFilesIfUnused()
      },
    })
  }

  async #fetch(): Promise<Assembly> {
    const { tools } = this.#options
    let attempt = 1
    for (let wrongSizes = 0; ; ) {
      const before = { bytes: this.#size.bytes, excluded: this.#excluded.size }
      try {
        return await this.#attempt.run()
      } catch (error) {
        const { assembly } = this.#attempt
        if (assembly !== undefined) this.#files.add(assembly)
        const isWrong = error instanceof DigestMismatch || error instanceof SizeConflict
        if (!isWrong) {
          // Of a size that only peers have told, the next fetch would begin with a lie. And a full disk needs the room; what
          // clients have got, from which they go on, must not change then.
          if (this.#attempt.isSizeKnown && !isUnstorable(error)) await assembly?.partial.keep()
          else await assembly?.partial.discard()
          throw error
        }
        await assembly?.partial.discard()
        tools.logger.warn({ digest: this.digest, reason: error.message }, 'received wrong content')
        const isBetter = this.#size.bytes !== before.bytes || this.#excluded.size > before.excluded
        if (error instanceof SizeConflict && isBetter) wrongSizes++
        else attempt++
        if (attempt > MAX_ATTEMPTS || wrongSizes > MAX_WRONG_SIZES || this.#clients === 0) throw error
        this.#break(0)
        this.#attempt = this.#newAttempt()
        this.#news()
      }
    }
  }

  #newAttempt(): RunningAttempt {
    const { tools, request } = this.#options
    return new RunningAttempt({
      tools,
      // The fetch outlives the client that began it.
      request: { ...request, signal: this.#abort.signal },
      excluded: this.#excluded,
      size: this.#size,
      isSizeSought: () => this.#waiting > 0 && request.kind === 'blob',
      readings: this.#readings,
      onNews: () => this.#news(),
      open: () => this.share((facts) => facts.public || tools.isClosed),
      onDropped: (quarters) => {
        tools.onWasted('dropped', quarters.length * quarterBytes)
        this.#break((quarters[0] ?? 0) * quarterBytes)
      },
      signal: this.#abort.signal,
    })
  }

  /** Waits until a source has answered whose word on the size may be passed on. */
  async #answered(signal: AbortSignal): Promise<DownloadFacts> {
    this.#waiting++
    try {
      for (;;) {
        const { facts } = this
        if (facts !== undefined && this.#attempt.isSizeSure) return facts
        // It can be had as one stream.
        if (isUnstorable(this.#failure)) throw new NotByChunks('the store can not take it', { cause: this.#failure })
        if (this.#failure !== undefined) throw this.#failure
        await this.#changed.next(signal)
      }
    } finally {
      this.#waiting--
    }
  }

  async *#read(
    { size, request, isRevoked }: Reader,
    start: number,
    end: number | undefined,
    signal: AbortSignal,
  ): AsyncGenerator<Uint8Array, void, void> {
    const last = end ?? size - 1
    const reading: Reading = { start, position: start, end: last, isRange: start > 0 || last < size - 1 }
    const readable = () => {
      if (reading.broken !== undefined) throw reading.broken
      if (isRevoked()) throw new NotForAsker()
      const { assembly } = this.#attempt
      if (assembly !== undefined && assembly.size !== size) throw new Error('a source gave a wrong size')
      return { assembly, changed: this.#changed, failure: this.#failure }
    }
    this.#readings.add(reading)
    // A range that nobody brings yet is looked after at once.
    this.#attempt.changed.notify()
    try {
      yield* readAsItComes(readable, reading, signal)
    } catch (error) {
      if (!isUnstorable(error) || signal.aborted) throw error
      const { position, isRange } = reading
      const { assembly } = this.#attempt
      // Of a range nothing proves what was given of it.
      if (position > start && (isRange || assembly === undefined)) throw error
      const prefix = assembly && position > start ? await hashedPrefix(assembly, position, signal) : undefined
      yield* this.#options.passThrough(request, { size, start: position, end: last, prefix, signal })
    } finally {
      this.#readings.delete(reading)
    }
  }

  /** Bytes from here on that clients have got may be wrong: they must see a broken body. */
  #break(from: number): void {
    for (const reading of this.#readings) {
      if (reading.position > Math.max(from, reading.start)) {
        reading.broken = new Error('the bytes received did not match the digest')
      }
    }
  }

  #news(): void {
    this.#changed.notify()
  }

  async #leave(): Promise<void> {
    this.#clients--
    this.#users--
    if (this.#clients === 0 && !this.#hasLanded) this.#options.onOrphaned()
    await this.#closeFilesIfUnused()
  }

  async #closeFilesIfUnused(): Promise<void> {
    if (!this.#hasLanded || this.#users > 0) return
    const files = [...this.#files]
    this.#files.clear()
    // A file that can't be closed (NFS) has nothing more to lose: it was made durable before, or is given up.
    for (const { partial } of files) await partial.close().catch(() => {})
  }
}
