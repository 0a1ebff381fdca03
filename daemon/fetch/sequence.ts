import { setTimeout as delay } from 'node:timers/promises'
import { PeerError } from '../swarm/ports.ts'
import { PeerPool } from './peer-pool.ts'
import type { BlobSource, SourceBody } from './source.ts'

interface SequenceOptions {
  /** Peers as they are found. Ends on the signal's abort. */
  readonly peers: (signal: AbortSignal) => AsyncIterable<BlobSource>
  readonly upstream: BlobSource
  /** How long peers are waited for before upstream is asked, in ms. */
  readonly lookupTimeout: number
  /** Upstream is asked before all peers, because peers have lied. */
  readonly upstreamFirst: boolean
  /** A source that says more bytes than this is passed over. */
  readonly maxBytes: number
  readonly onOpen: (source: BlobSource, body: SourceBody) => void
  readonly onBytes: (source: BlobSource, bytes: number) => void
  readonly onFailure: (source: BlobSource, error: unknown) => void
}

/** Sources contradict each other: one of them did not speak of this blob, and what was received is worth nothing. */
export class SourceConflict extends Error {
  constructor(message: string) {
    super(message)
    this.name = 'SourceConflict'
  }
}

/** A peer that gives fewer bytes a second than this, over so many ms of waiting for it, is left for another source. */
const minPeerRate = 8 * 1024
const paceWindow = 5_000

/** When upstream can't give the blob, busy peers are asked again this often, with this pause in ms. */
const busyRounds = 40
const busyPause = 500

/** Peers that only fail may hold a request up for so many ms; then upstream is asked before further peers. */
const failureLimit = 2_000

/** How often peers are looked up anew for one blob, while each lookup has brought it further. */
const maxLookups = 8

/**
 * One blob being fetched: its sources in turn, each going on where the one before it stopped. Nothing is verified here.
 */
export class Sequence {
  readonly #options: SequenceOptions
  readonly #opened = new Set<BlobSource>()
  readonly #used = new Set<BlobSource>()
  readonly #busy: BlobSource[] = []
  #size: number | undefined
  #position = 0
  #lastError: unknown
  #upstreamError: unknown

  constructor(options: SequenceOptions) {
    this.#options = options
  }

  /** Sources that answered, whether they gave bytes or only said how many there are. */
  get opened(): ReadonlySet<BlobSource> {
    return this.#opened
  }

  /** Sources that gave bytes. */
  get used(): ReadonlySet<BlobSource> {
    return this.#used
  }

  /**
   * The blob's bytes from `offset` to its end; a chunk is valid until the next one is asked for.
   * @throws {SourceConflict}, or the reason of upstream, or else of the last peer, when no source can give the rest
   */
  async *read(offset: number, signal: AbortSignal): AsyncGenerator<Uint8Array, void, void> {
    this.#position = offset
    for await (const source of this.#candidates(signal)) {
      const transfer = new AbortController()
      try {
        yield* this.#readFrom(source, AbortSignal.any([signal, transfer.signal]))
        return
      } catch (error) {
        if (signal.aborted) throw signal.reason
        if (error instanceof SourceConflict) throw error
        this.#noteFailure(source, error)
      } finally {
        transfer.abort()
      }
    }
    signal.throwIfAborted()
    throw this.#upstreamError ?? this.#lastError
  }

  async *#readFrom(source: BlobSource, signal: AbortSignal): AsyncGenerator<Uint8Array, void, void> {
    const opened = await source.open(this.#position, signal)
    if (opened.size !== undefined && opened.size > this.#options.maxBytes) {
      throw new Error(`says ${opened.size} bytes; at most ${this.#options.maxBytes} are expected`)
    }
    this.#opened.add(source)
    this.#size ??= opened.size
    const size = this.#size
    if (opened.size !== undefined && opened.size !== size) {
      throw new SourceConflict(`${source.name} says ${opened.size} bytes, another source ${size}`)
    }
    this.#options.onOpen(source, opened)
    const pace = new Pace()
    for await (const chunk of opened.body) {
      signal.throwIfAborted()
      pace.arrived(chunk.length)
      if (source.origin === 'peer' && pace.isTooSlow)
        throw new Error(`${source.name} gives less than ${minPeerRate} bytes a second`)
      if (size !== undefined && this.#position + chunk.length > size) {
        throw new SourceConflict(`${source.name} gives more than the ${size} bytes that were announced`)
      }
      this.#position += chunk.length
      this.#used.add(source)
      this.#options.onBytes(source, chunk.length)
      yield chunk
      pace.resumed()
    }
    if (size !== undefined && this.#position !== size) {
      if (opened.size === undefined) throw new SourceConflict(`${source.name} has fewer than ${size} bytes`)
      throw new Error(`${source.name} ended the body at ${this.#position} of ${size} bytes`)
    }
  }

  /** Rounds of sources, as long as a round brings the blob further. */
  async *#candidates(signal: AbortSignal): AsyncGenerator<BlobSource, void, void> {
    for (let round = 0; round < maxLookups; round++) {
      const before = this.#position
      yield* this.#round(signal)
      if (this.#position === before) return
    }
  }

  /** Peers first, upstream when none is found in time, then the peers that were found late or had been busy. */
  async *#round(signal: AbortSignal): AsyncGenerator<BlobSource, void, void> {
    const { peers, upstream, lookupTimeout, upstreamFirst } = this.#options
    const pool = new PeerPool(peers, signal)
    try {
      const started = performance.now()
      const before = this.#position
      const isHopeful = () => this.#position > before || performance.now() - started < failureLimit
      while (!upstreamFirst && isHopeful()) {
        const peer = await pool.next(lookupTimeout)
        if (peer === undefined) break
        yield peer
      }
      const upstreamUnlessPeer = upstreamFirst ? { source: upstream, wasLeft: () => false } : pool.unlessFound(upstream)
      yield upstreamUnlessPeer.source
      for (let peer = await pool.next(); peer !== undefined; peer = await pool.next()) yield peer
      if (upstreamUnlessPeer.wasLeft()) yield upstream
      for (let again = 0; again < busyRounds && this.#busy.length > 0; again++) {
        await delay(busyPause * (0.5 + Math.random()), undefined, { signal }).catch(() => {})
        yield* this.#busy.splice(0)
      }
    } finally {
      pool.close()
    }
  }

  #noteFailure(source: BlobSource, error: unknown): void {
    this.#options.onFailure(source, error)
    this.#lastError = error
    if (source.origin === 'upstream') this.#upstreamError = error
    if (error instanceof PeerError && error.code === 'busy') this.#busy.push(source)
  }
}

/** How fast a source is, counting only the time in which it is waited for: a slow client is not the source's fault. */
class Pace {
  #waitingSince = performance.now()
  #waited = 0
  #bytes = 0
  #isTooSlow = false

  get isTooSlow(): boolean {
    return this.#isTooSlow
  }

  arrived(bytes: number): void {
    this.#waited += performance.now() - this.#waitingSince
    this.#bytes += bytes
    if (this.#waited < paceWindow) return
    this.#isTooSlow = this.#bytes / (this.#waited / 1000) < minPeerRate
    this.#waited = 0
    this.#bytes = 0
  }

  resumed(): void {
    this.#waitingSince = performance.now()
  }
}
