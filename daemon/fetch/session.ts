import { setTimeout as delay } from 'node:timers/promises'
import { PeerError } from '../swarm/ports.ts'
import type { BlobSource, SourceBody } from './source.ts'

interface SessionOptions {
  /** Peers as they are found. Ends on the signal's abort. */
  readonly peers: (signal: AbortSignal) => AsyncIterable<BlobSource>
  readonly upstream: BlobSource
  /** How long peers are waited for before upstream is asked, in ms. */
  readonly lookupTimeout: number
  readonly onOpen: (source: BlobSource, body: SourceBody) => void
  readonly onBytes: (source: BlobSource, bytes: number) => void
  readonly onFailure: (source: BlobSource, error: unknown) => void
}

/** A lookup that has not found a peer after this many ms is given up, also when upstream can't be reached. */
const lookupLimit = 5_000

/** Peers that are tried for one blob. */
const maxPeers = 16

/** Peers that only fail may hold a request up for so many ms; then upstream is asked before further peers. */
const failureLimit = 2_000

/** When upstream can't give the blob, busy peers are asked again this often, with this pause in ms. */
const busyRounds = 40
const busyPause = 500

/**
 * One blob being fetched: its sources in turn, each going on where the one before it stopped. Nothing is verified here.
 */
export class Session {
  readonly #options: SessionOptions
  readonly #used = new Set<BlobSource>()
  readonly #busy: BlobSource[] = []
  #size: number | undefined
  #lastError: unknown
  #upstreamError: unknown

  constructor(options: SessionOptions) {
    this.#options = options
  }

  /** Sources that gave bytes. */
  get used(): ReadonlySet<BlobSource> {
    return this.#used
  }

  /**
   * The blob's bytes from `offset` to its end; a chunk is valid until the next one is asked for.
   * @throws the reason of upstream, or else of the last peer, when no source can give the rest
   */
  async *read(offset: number, signal: AbortSignal): AsyncGenerator<Uint8Array, void, void> {
    let position = offset
    for await (const source of this.#candidates(signal)) {
      const transfer = new AbortController()
      const transferSignal = AbortSignal.any([signal, transfer.signal])
      try {
        const opened = await source.open(position, transferSignal)
        this.#checkSize(opened.size, position)
        this.#options.onOpen(source, opened)
        for await (const chunk of opened.body) {
          signal.throwIfAborted()
          position += chunk.length
          this.#used.add(source)
          this.#options.onBytes(source, chunk.length)
          yield chunk
        }
        if (opened.size !== undefined && position !== opened.size) {
          throw new Error(`${source.name} ended the body at ${position} of ${opened.size} bytes`)
        }
        return
      } catch (error) {
        if (signal.aborted) throw signal.reason
        this.#noteFailure(source, error)
      } finally {
        transfer.abort()
      }
    }
    signal.throwIfAborted()
    throw this.#upstreamError ?? this.#lastError
  }

  /** Peers first, upstream when none is found in time, then the peers that were found late or had been busy. */
  async *#candidates(signal: AbortSignal): AsyncGenerator<BlobSource, void, void> {
    const { peers, upstream, lookupTimeout } = this.#options
    const lookup = new AbortController()
    const lookupSignal = AbortSignal.any([signal, lookup.signal, AbortSignal.timeout(lookupLimit)])
    const found = new Lookahead(peers(lookupSignal))
    try {
      let tried = 0
      const started = performance.now()
      const isHopeful = () => this.#used.size > 0 || performance.now() - started < failureLimit
      for (; tried < maxPeers && isHopeful(); tried++) {
        const peer = await found.next(lookupTimeout, lookupSignal)
        if (peer === undefined) break
        yield peer
      }
      yield upstream
      for (; tried < maxPeers; tried++) {
        const peer = await found.next(lookupLimit, lookupSignal)
        if (peer === undefined) break
        yield peer
      }
      for (let round = 0; round < busyRounds && this.#busy.length > 0; round++) {
        await delay(busyPause * (0.5 + Math.random()), undefined, { signal }).catch(() => {})
        yield* this.#busy.splice(0)
      }
    } finally {
      lookup.abort()
    }
  }

  #checkSize(size: number | undefined, position: number): void {
    if (size === undefined) return
    if (this.#size !== undefined && size !== this.#size) throw new Error(`says ${size} bytes, another ${this.#size}`)
    if (position > size) throw new Error(`says ${size} bytes, but ${position} were received already`)
    this.#size = size
  }

  #noteFailure(source: BlobSource, error: unknown): void {
    this.#options.onFailure(source, error)
    this.#lastError = error
    if (source.origin === 'upstream') this.#upstreamError = error
    if (error instanceof PeerError && error.code === 'busy') this.#busy.push(source)
  }
}

/** An async iterator that can be waited for with a time limit without losing what comes later. */
class Lookahead<T> {
  readonly #iterator: AsyncIterator<T>
  #pending: Promise<IteratorResult<T>> | undefined

  constructor(items: AsyncIterable<T>) {
    this.#iterator = items[Symbol.asyncIterator]()
  }

  /** The next item; undefined at the end, after `ms`, or when the signal is aborted. */
  async next(ms: number, signal: AbortSignal): Promise<T | undefined> {
    if (signal.aborted) return undefined
    this.#pending ??= this.#iterator.next().catch(() => ({ done: true, value: undefined }))
    const limit = new AbortController()
    const late = delay(ms, undefined, { signal: AbortSignal.any([signal, limit.signal]) }).catch(() => undefined)
    const result = await Promise.race([this.#pending, late])
    limit.abort()
    if (result === undefined) return undefined
    this.#pending = result.done === true ? this.#pending : undefined
    return result.done === true ? undefined : result.value
  }
}
