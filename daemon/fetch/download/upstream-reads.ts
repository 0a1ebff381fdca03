import { UpstreamError } from '../../../proxy/upstream/types.ts'
import { quarterBytes, quartersPerChunk } from '../../verify/quarter.ts'
import { messageOf } from '../errors.ts'
import { ForeignContent } from '../source.ts'
import type { Assembly } from './assembly.ts'
import { MAX_RANGE_STREAMS, RETRY_UPSTREAM_MS } from './constants.ts'
import { type Attempt, NotByChunks, WrongLength } from './context.ts'

const refusals: ReadonlySet<string> = new Set(['unauthorized', 'denied', 'refused'])
const finalCodes: ReadonlySet<string> = new Set(['not-found', ...refusals])

interface Stream {
  /** The quarter that arrives at present. */
  at: number
  /** The first quarter that is not wanted of it. */
  end: number
  /** Whether the plan reads by it, or a client that asked for a range. */
  readonly isPlanned: boolean
  /** The first quarter that was wanted. Where the registry gives no ranges, others come before it. */
  readonly wanted: number
  readonly abort: AbortController
}

interface UpstreamReadsOptions {
  readonly attempt: Attempt
  /** Whether this node reads the blob for all: then one request goes on to its end. */
  readonly isHead: () => boolean
  /** Upstream has failed, or may be asked again. */
  readonly onReadable: (isReadable: boolean) => void
}

/** Upstream as a source of one attempt: what the plan reads there, and what clients that read a range wait for. */
export class UpstreamReads {
  readonly #options: UpstreamReadsOptions
  readonly #streams = new Set<Stream>()
  #error: unknown
  #hasBegun = false
  #failedUntil = 0
  #retry: NodeJS.Timeout | undefined
  #settling: Promise<void> | undefined
  /** The registry gives no ranges: each request begins at the first byte, and one is enough for all who wait. */
  #isWholeOnly = false

  constructor(options: UpstreamReadsOptions) {
    this.#options = options
    options.attempt.signal.addEventListener('abort', () => clearTimeout(this.#retry))
  }

  /** Whether bytes have come from upstream. */
  get hasBegun(): boolean {
    return this.#hasBegun
  }

  get isRunning(): boolean {
    return this.#streams.size > 0
  }

  /** Why upstream could not give the blob, if so. */
  get error(): unknown {
    return this.#error
  }

  /** Whether upstream does not give the blob to who asks for it. */
  get isRefused(): boolean {
    return this.#error instanceof UpstreamError && refusals.has(this.#error.code)
  }

  get hasFailed(): boolean {
    return performance.now() < this.#failedUntil
  }

  /** The plan wants a chunk from this quarter on. */
  read(first: number): void {
    const end = this.#chunkEnd(first)
    const running = this.#open.find(({ isPlanned }) => isPlanned)
    if (running !== undefined && running.at <= first && (running.end === first || this.#isWholeOnly)) {
      running.end = end
      return
    }
    running?.abort.abort(new Error('something else is wanted'))
    this.#start({ at: first, end, isPlanned: true, wanted: first, abort: new AbortController() })
  }

  /** The plan wants nothing more. */
  unread(): void {
    for (const { isPlanned, abort } of this.#streams) if (isPlanned) abort.abort(new Error('it comes from elsewhere'))
  }

  /** Fetches quarters `first` to `last` for a client, unless they come anyway. */
  range(first: number, last: number): void {
    const streams = this.#open
    const isComing = streams.some(({ at, end }) => at <= first && (first < end || this.#isWholeOnly))
    const ranges = streams.filter(({ isPlanned }) => !isPlanned)
    if (this.hasFailed || isComing || ranges.length >= MAX_RANGE_STREAMS) return
    this.#start({ at: first, end: last + 1, isPlanned: false, wanted: first, abort: new AbortController() })
  }

  /** Raw quarters that the list has reached are verified. */
  settle(assembly: Assembly): void {
    if (!assembly.canSettleRaw || this.#settling !== undefined) return
    const { attempt } = this.#options
    this.#settling = assembly
      .settle('raw', attempt.signal, (quarter) => attempt.held(quarter))
      .catch(() => {})
      .finally(() => {
        this.#settling = undefined
        attempt.changed.notify()
      })
  }

  /** Those that were not given up: of others something may come still. */
  get #open(): Stream[] {
    return [...this.#streams].filter(({ abort }) => !abort.signal.aborted)
  }

  #chunkEnd(quarter: number): number {
    const end = (Math.floor(quarter / quartersPerChunk) + 1) * quartersPerChunk
    return Math.min(end, this.#options.attempt.assembly?.quarters ?? end)
  }

  #start(stream: Stream): void {
    this.#streams.add(stream)
    this.#run(stream).catch((error: unknown) => this.#options.attempt.fail(error))
  }

  async #run(stream: Stream): Promise<void> {
    const { attempt } = this.#options
    try {
      await this.#read(stream)
      // More was wanted than the request was for.
      if (stream.isPlanned && stream.at < stream.end && !stream.abort.signal.aborted)
        this.#start({ ...stream, wanted: stream.at, abort: new AbortController() })
    } catch (error) {
      if (attempt.signal.aborted || stream.abort.signal.aborted) return
      // Wrong bytes and a full disk are not upstream's failure to answer: they end the attempt.
      if (!(error instanceof UpstreamError)) throw error
      this.#failed(error)
    } finally {
      this.#streams.delete(stream)
      attempt.changed.notify()
    }
  }

  #failed(error: UpstreamError): void {
    const { attempt, onReadable } = this.#options
    const { request, tools, signal } = attempt
    this.#error = error
    const isFinal = finalCodes.has(error.code)
    this.#failedUntil = isFinal ? Number.POSITIVE_INFINITY : performance.now() + RETRY_UPSTREAM_MS
    tools.logger.debug({ digest: request.digest, reason: messageOf(error) }, 'upstream did not give the blob')
    onReadable(false)
    clearTimeout(this.#retry)
    if (isFinal || signal.aborted) return
    this.#retry = setTimeout(() => onReadable(true), RETRY_UPSTREAM_MS)
  }

  async #read(stream: Stream): Promise<void> {
    const { attempt, isHead } = this.#options
    const { tools, request } = attempt
    const signal = AbortSignal.any([attempt.signal, stream.abort.signal])
    const offset = stream.wanted * quarterBytes
    const end = this.#lastByte(stream, isHead())
    const { kind, digest, repository, authorization, isGuest } = request
    const asker = { kind, digest, repository, authorization, isGuest }
    const opened = await tools.upstream.open({ ...asker, offset, end, signal })
    const granted = await tools.access.accepted({ ...request, signal }, opened.access)
    if (granted === 'foreign') throw new ForeignContent(repository.registry)
    const { mediaType } = opened
    const size = opened.size ?? attempt.assembly?.size
    if (size === undefined) throw new NotByChunks('upstream does not say how long it is')
    const isPublic = granted === 'public'
    const facts = { size, mediaType, repositories: [], public: isPublic, origin: 'upstream' } as const
    const assembly = await attempt.begin(facts, 'upstream')
    stream.end = Math.min(stream.end, assembly.quarters)
    if (opened.start < offset && !this.#mayReadWhole(stream)) {
      stream.abort.abort(new Error('another request brings it'))
      return
    }
    const body = until(signal, opened.body)
    await assembly.take({
      body: opened.size === undefined ? ofLength(body, (end ?? size - 1) + 1 - opened.start) : body,
      first: stream.at,
      isUpstream: true,
      onBytes: (bytes) => {
        this.#hasBegun = true
        tools.onFetched('upstream', bytes)
      },
      onQuarter: (quarter) => this.#came(stream, assembly, quarter),
    })
  }

  /** The last byte that is asked for; undefined for the end of the blob. */
  #lastByte(stream: Stream, isHead: boolean): number | undefined {
    const { assembly } = this.#options.attempt
    let { end } = stream
    // Whoever reads for all goes on up to what is held: a request for each chunk would cost a round trip each.
    if (stream.isPlanned && isHead) {
      if (assembly === undefined) return undefined
      while (end < assembly.quarters && !assembly.held.has(end) && !assembly.raw.has(end)) end++
    }
    return assembly !== undefined && end >= assembly.quarters ? undefined : end * quarterBytes - 1
  }

  #came(stream: Stream, assembly: Assembly, quarter: number): void {
    const { attempt } = this.#options
    stream.at = quarter + 1
    // The plan says in it whether the stream goes on.
    if (assembly.held.has(quarter)) attempt.held(quarter)
    else if (assembly.raw.has(quarter)) {
      if (stream.isPlanned && stream.at === this.#chunkEnd(quarter))
        attempt.sharing?.raw(Math.floor(quarter / quartersPerChunk))
      attempt.news()
    }
    if (stream.at >= stream.end && stream.at < assembly.quarters)
      stream.abort.abort(new Error('what comes next is not wanted from here'))
    attempt.changed.notify()
  }

  /** The body begins at the first byte of the blob. @returns whether it is needed: not where another one brings its quarter */
  #mayReadWhole(stream: Stream): boolean {
    this.#isWholeOnly = true
    for (const other of this.#open) if (other !== stream && other.at <= stream.wanted) return false
    stream.at = 0
    return true
  }
}

/** A body up to when the signal is aborted. @throws its reason then */
async function* until(signal: AbortSignal, body: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void> {
  for await (const bytes of body) {
    signal.throwIfAborted()
    yield bytes
  }
}

/** The body of an upstream that did not say how long it is. @throws {WrongLength} where it is not what others said */
async function* ofLength(body: AsyncIterable<Uint8Array>, length: number): AsyncGenerator<Uint8Array, void> {
  let received = 0
  for await (const bytes of body) {
    received += bytes.length
    if (received > length) throw new WrongLength(received, length)
    yield bytes
  }
  if (received < length) throw new WrongLength(received, length)
}
