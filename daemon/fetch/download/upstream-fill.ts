import { UpstreamError } from '../../../proxy/upstream/types.ts'
import { quarterBytes as chunkBytes } from '../../verify/quarter.ts'
import { messageOf } from '../errors.ts'
import { ForeignContent } from '../source.ts'
import type { Assembly } from './assembly.ts'
import { MAX_RANGE_STREAMS } from './constants.ts'
import { type Attempt, NotByChunks, WrongLength } from './context.ts'

/** How long upstream is left alone after it failed for another reason than saying no, in ms. */
const retryAfter = 5_000

const refusals: ReadonlySet<string> = new Set(['unauthorized', 'denied', 'refused'])
const finalCodes: ReadonlySet<string> = new Set(['not-found', ...refusals])

/** Whether a chunk can be expected from peers. */
type Expects = (chunk: number) => boolean

/**
 * By this node's claim, in order, or for a client that reads a long range; for one that reads a small range, whoever has the claim; or
 * by a turn.
 */
type Kind = 'claim' | 'range' | 'small' | 'turn'

interface Stream {
  /** The chunk that arrives at present. */
  at: number
  /** The first chunk that is not wanted of it. */
  end: number
  readonly kind: Kind
  /** The chunk that it was begun for. Where the registry gives no ranges, others come before it. */
  readonly wanted: number
  /** Whether it ends early: with the chunk that arrives at present, but not before `wanted`. */
  isCut: boolean
  readonly abort: AbortController
}

interface UpstreamFillOptions {
  readonly attempt: Attempt
  /** A chunk was held. @param isProgress whether it renews this node's claim, as it was not fetched in a turn */
  readonly onChunk: (chunk: number, isProgress: boolean) => void
}

/** Upstream as a source of one attempt: what nobody has, from its beginning on, and what clients that read a range wait for. */
export class UpstreamFill {
  readonly #options: UpstreamFillOptions
  readonly #streams = new Set<Stream>()
  #error: unknown
  #failedUntil = 0
  #settling: Promise<void> | undefined
  #bytes = 0
  /** The registry gives no ranges: each request begins at the first byte, and one is enough for all who wait. */
  #isWholeOnly = false
  /** Chunks of turns that can't be verified yet. */
  readonly #rawOfTurns = new Set<number>()

  constructor(options: UpstreamFillOptions) {
    this.#options = options
  }

  get isRunning(): boolean {
    return this.#streams.size > 0
  }

  isReading(kind: Kind): boolean {
    return [...this.#streams].some((stream) => stream.kind === kind)
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

  /** Whether a chunk is on its way from upstream, soon enough to wait for it. */
  isComing(chunk: number, within: number): boolean {
    return [...this.#streams].some((stream) => brings(stream, chunk) && chunk < stream.at + within)
  }

  /** Whether a chunk is missing that is neither on its way nor expected of peers. */
  isNeeded(expects: Expects): boolean {
    const { assembly } = this.#options.attempt
    return assembly === undefined ? !this.isRunning : this.#gap(assembly, expects) !== undefined
  }

  /** Fetches what is not expected of peers, in order, `limit` chunks at most. @returns whether it has made a request */
  fill(kind: 'claim' | 'turn', expects: Expects, limit = Number.POSITIVE_INFINITY): boolean {
    if (this.hasFailed || this.isReading(kind)) return false
    const { assembly } = this.#options.attempt
    // What is asked for is the beginning until the size is known.
    if (assembly === undefined && this.isRunning) return false
    const first = assembly === undefined ? 0 : this.#gap(assembly, expects)
    if (first === undefined) return false
    this.#start(kind, first, this.#endOf(assembly, first, limit, expects))
    return true
  }

  /** Bytes that came so far. */
  get bytes(): number {
    return this.#bytes
  }

  /** Fetches up to `limit` of the last chunks that are missing, while slow peers send the others. */
  help(assembly: Assembly, limit: number): void {
    if (this.hasFailed || this.isRunning) return
    const last = lastMissing(assembly)
    let first = last
    while (first > 0 && last - first < limit - 1 && !assembly.held.has(first - 1)) first--
    if (last >= 0) this.#start('claim', first, last + 1)
  }

  /**
   * For a client: fetches chunks `first` to `last`, up to the one that comes anyway; nothing where that is `first` itself.
   * @returns whether it has made a request
   */
  fetchRange(kind: 'range' | 'small' | 'turn', first: number, last: number, expects: Expects): boolean {
    const { assembly } = this.#options.attempt
    const streams = [...this.#streams]
    const alike: readonly Kind[] = kind === 'turn' ? ['turn'] : ['range', 'small']
    const running = streams.filter((stream) => alike.includes(stream.kind))
    // What fetches the blob in order may come to it after minutes; whoever asks looks whether that is soon.
    const isCovered = streams.some((stream) => (stream.kind !== 'claim' || this.#isWholeOnly) && brings(stream, first))
    if (this.hasFailed || running.length >= (kind === 'turn' ? 1 : MAX_RANGE_STREAMS) || isCovered) return false
    this.#start(kind, first, this.#endOf(assembly, first, last + 1 - first, expects))
    return true
  }

  /** It is somebody else's turn now. */
  endTurn(): void {
    for (const stream of this.#streams) if (stream.kind === 'turn') stream.isCut = true
  }

  /** The claim is somebody else's now. @param mayRace whether one chunk may be fetched all the same: the one that arrives */
  stopClaim(mayRace: boolean): void {
    for (const stream of this.#streams) {
      // A client waits for the chunk that arrives.
      if (stream.kind === 'range' || (stream.kind === 'claim' && mayRace)) stream.isCut = true
      else if (stream.kind === 'claim') stream.abort.abort(new Error('somebody else fetches it now'))
    }
  }

  /** The first chunk that is neither held nor on its way, and that is not expected of peers. */
  #gap(assembly: Assembly, expects: Expects): number | undefined {
    let chunk = assembly.held.firstMissing()
    while (chunk < assembly.quarters && !this.#isMissing(assembly, chunk, expects))
      chunk = assembly.held.firstMissing(chunk + 1)
    return chunk < assembly.quarters ? chunk : undefined
  }

  #isMissing(assembly: Assembly, chunk: number, expects: Expects): boolean {
    if (assembly.held.has(chunk) || assembly.raw.has(chunk)) return false
    return !expects(chunk) && ![...this.#streams].some((stream) => brings(stream, chunk))
  }

  #endOf(assembly: Assembly | undefined, first: number, limit: number, expects: Expects): number {
    if (assembly === undefined) return first + limit
    if (this.#isWholeOnly) return Math.min(lastMissing(assembly) + 1, first + limit)
    let end = first + 1
    while (end < assembly.quarters && end < first + limit && this.#isMissing(assembly, end, expects)) end++
    return end
  }

  #start(kind: Kind, first: number, end: number): void {
    const stream: Stream = { at: first, end, kind, wanted: first, isCut: false, abort: new AbortController() }
    this.#streams.add(stream)
    this.#run(stream).catch((error: unknown) => this.#options.attempt.fail(error))
  }

  async #run(stream: Stream): Promise<void> {
    const { attempt } = this.#options
    try {
      await this.#read(stream)
    } catch (error) {
      if (attempt.signal.aborted || stream.abort.signal.aborted) return
      // Wrong bytes and a full disk are not upstream's failure to answer: they end the attempt.
      if (!(error instanceof UpstreamError)) throw error
      const { request, tools } = attempt
      this.#error = error
      this.#failedUntil = finalCodes.has(error.code) ? Number.POSITIVE_INFINITY : performance.now() + retryAfter
      tools.logger.debug({ digest: request.digest, reason: messageOf(error) }, 'upstream did not give the blob')
    } finally {
      this.#streams.delete(stream)
      attempt.changed.notify()
    }
  }

  async #read(stream: Stream): Promise<void> {
    const { attempt, onChunk } = this.#options
    const { tools, request } = attempt
    const signal = AbortSignal.any([attempt.signal, stream.abort.signal])
    const offset = stream.wanted * chunkBytes
    const known = attempt.assembly
    const isToEnd = stream.end >= (known?.quarters ?? Number.POSITIVE_INFINITY)
    const end = isToEnd ? undefined : stream.end * chunkBytes - 1
    const { kind, digest, repository, authorization } = request
    const opened = await tools.upstream.open({ kind, digest, repository, authorization, offset, end, signal })
    const granted = await tools.access.accepted({ ...request, signal }, opened.access)
    if (granted === 'foreign') throw new ForeignContent(repository.registry)
    const { mediaType } = opened
    const size = opened.size ?? attempt.assembly?.size
    if (size === undefined) throw new NotByChunks('upstream does not say how long it is')
    const isPublic = granted === 'public'
    const assembly = await attempt.begin(
      { size, mediaType, repositories: [], public: isPublic, origin: 'upstream' },
      'upstream',
    )
    stream.end = Math.min(stream.end, assembly.quarters)
    if (opened.start < offset && !this.#mayReadWhole(stream)) {
      stream.abort.abort(new Error('another request brings it'))
      return
    }
    await assembly.take({
      body: opened.size === undefined ? ofLength(opened.body, (end ?? size - 1) + 1 - opened.start) : opened.body,
      first: stream.at,
      isUpstream: true,
      onBytes: (bytes) => {
        this.#bytes += bytes
        tools.onFetched('upstream', bytes)
      },
      onQuarter: (chunk, fate) => {
        stream.at = chunk + 1
        if (fate === 'held') onChunk(chunk, stream.kind !== 'turn')
        if (fate === 'raw') {
          if (stream.kind === 'turn') this.#rawOfTurns.add(chunk)
          attempt.news()
        }
        // What comes before the chunk that is wanted is the price of a registry without ranges.
        const isPast = stream.at > stream.wanted
        const isThere = assembly.held.has(stream.at) || assembly.raw.has(stream.at)
        const isUseless = assembly.held.firstMissing(stream.at) >= stream.end
        const isUnwanted = stream.isCut || (isThere && !this.#isWholeOnly)
        if (stream.at < stream.end && (isUseless || (isPast && isUnwanted)))
          stream.abort.abort(new Error('what comes next is not wanted from here'))
        attempt.changed.notify()
      },
    })
  }

  /** The body begins at the first byte of the blob. @returns whether it is needed: not where another one brings its chunk */
  #mayReadWhole(stream: Stream): boolean {
    this.#isWholeOnly = true
    if ([...this.#streams].some((other) => other !== stream && brings(other, stream.wanted))) return false
    stream.at = 0
    return true
  }

  /** Raw chunks that the list has reached are verified. */
  settle(assembly: Assembly): void {
    if (!assembly.canSettleRaw || this.#settling !== undefined) return
    const { attempt, onChunk } = this.#options
    this.#settling = assembly
      .settle('raw', attempt.signal, (chunk) => onChunk(chunk, !this.#rawOfTurns.delete(chunk)))
      .catch(() => {})
      .finally(() => {
        this.#settling = undefined
        attempt.changed.notify()
      })
  }
}

function lastMissing({ quarters, held }: Assembly): number {
  let last = quarters - 1
  while (last >= 0 && held.has(last)) last--
  return last
}

/** Whether a chunk is still to come by a request. */
function brings({ at, end, wanted, isCut }: Stream, chunk: number): boolean {
  return at <= chunk && chunk < (isCut ? Math.min(end, Math.max(at, wanted) + 1) : end)
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
