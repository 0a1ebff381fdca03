import type { IncomingHttpHeaders } from 'node:http'
import type { SecureContext } from 'node:tls'
import type { Pool } from 'undici'
import type { Digest } from '../../../proxy/oci/digest.ts'
import { parseMediaType } from '../../../proxy/oci/media-type.ts'
import { parseContentRange } from '../../../proxy/oci/range.ts'
import type { KnownPeer } from '../known-peers.ts'
import {
  type Access,
  type BlobFacts,
  type OpenRange,
  type PeerBody,
  PeerError,
  type PeerId,
  type TagConfirmation,
} from '../ports.ts'
import type { TransferCertificate } from './certificate.ts'
import {
  ACCESS_HEADER,
  MAX_REPOSITORIES,
  MAX_TAG_BYTES,
  REPOSITORIES_HEADER,
  type TransferDeadlines,
} from './constants.ts'
import { Exchange, type ResponseHead } from './exchange.ts'
import { blobPath, decodeConfirmation, tagPath } from './messages.ts'
import { createClientContext, createPool } from './pool.ts'

interface TransferClientOptions {
  readonly certificate: TransferCertificate
  /** A peer's transfer address, if it is connected. */
  readonly known: (peer: PeerId) => KnownPeer | undefined
  /** Gives a peer's transfer address, connecting to it first where needed. Rejects when the signal is aborted. */
  readonly locate: (peer: PeerId, signal: AbortSignal) => Promise<KnownPeer>
  readonly deadlines: TransferDeadlines
  /** Told when a peer fails after it began to answer. */
  readonly onBroken: (peer: PeerId) => void
  /** Told when a connected peer can't be reached, or says nothing any more: something may be wrong between it and this node. */
  readonly onUnreached: (peer: PeerId) => void
  /** Told when something has come from a peer. */
  readonly onHeard: (peer: PeerId) => void
}

interface Asked {
  readonly method: 'GET' | 'HEAD'
  readonly path: string
  readonly headers?: Record<string, string>
}

/** A response of status 200 or 206. */
interface Answer extends ResponseHead {
  readonly exchange: Exchange
  /** Ends the watch over the caller's signal. */
  readonly release: () => void
}

/** Fetches blobs and tags from the transfer servers of peers. Its methods reject with {@link PeerError} and nothing else. */
export class TransferClient {
  readonly #options: TransferClientOptions
  readonly #context: SecureContext
  readonly #pools = new Map<PeerId, { readonly peer: KnownPeer; readonly pool: Pool }>()
  /** Those of {@link release} too, until their last transfer ends. */
  readonly #open = new Set<Pool>()

  constructor(options: TransferClientOptions) {
    this.#options = options
    this.#context = createClientContext(options.certificate)
  }

  /** Requests to peers that are under way, or wait for a connection. */
  get requests(): number {
    let requests = 0
    for (const { stats } of this.#open) requests += stats.size
    return requests
  }

  /** Starts a transfer of a range; of the whole blob where it begins at 0 and has no end. */
  async open(peer: PeerId, digest: Digest, range: OpenRange, signal: AbortSignal): Promise<PeerBody> {
    const { start, end } = range
    const isWhole = start === 0 && end === undefined
    const headers = isWhole ? {} : { range: `bytes=${start}-${end ?? ''}` }
    const answer = await this.#ask(peer, { method: 'GET', path: blobPath(digest), headers }, signal)
    const size = isWhole ? contentLength(answer.headers) : sizeFrom(answer, range)
    if (size === undefined) throw refuse(answer, peer, 'answered with other bytes than asked for')
    const length = (end === undefined ? size : end + 1) - start
    return { ...factsOf(answer.headers, size), body: this.#read(answer, peer, length, signal) }
  }

  async stat(peer: PeerId, digest: Digest, signal: AbortSignal): Promise<BlobFacts> {
    const answer = await this.#ask(peer, { method: 'HEAD', path: blobPath(digest) }, signal)
    answer.release()
    const size = contentLength(answer.headers)
    if (size === undefined) throw refuse(answer, peer, 'told no size')
    return factsOf(answer.headers, size)
  }

  /** What a peer knows of a tag. */
  async tag(peer: PeerId, reference: string, signal: AbortSignal): Promise<TagConfirmation> {
    const askedAt = Date.now()
    const answer = await this.#ask(peer, { method: 'GET', path: tagPath(reference) }, signal)
    const length = contentLength(answer.headers)
    if (length === undefined || length > MAX_TAG_BYTES)
      throw refuse(answer, peer, 'sent a tag answer of the wrong size')
    const chunks: Uint8Array[] = []
    for await (const chunk of this.#read(answer, peer, length, signal)) chunks.push(chunk)
    try {
      return decodeConfirmation(Buffer.concat(chunks).toString('utf8'), askedAt)
    } catch (cause) {
      throw new PeerError('failed', peer, `peer ${peer} sent a malformed tag answer`, { cause })
    }
  }

  /** Lets running transfers from a peer finish, but keeps no connection to it. */
  release(peer: PeerId): void {
    const pool = this.#pools.get(peer)?.pool
    this.#pools.delete(peer)
    pool?.close().then(
      () => this.#open.delete(pool),
      () => this.#open.delete(pool),
    )
  }

  /** Cuts all transfers from a peer. */
  cut(peer: PeerId): void {
    const pool = this.#pools.get(peer)?.pool
    this.#pools.delete(peer)
    if (pool !== undefined) void this.#destroy(pool)
  }

  async stop(): Promise<void> {
    this.#pools.clear()
    await Promise.all([...this.#open].map((pool) => this.#destroy(pool)))
  }

  async #destroy(pool: Pool): Promise<void> {
    this.#open.delete(pool)
    await pool.destroy(new Error('this node ended the connection'))
  }

  /** Sends a request and waits for the headers of a 200 or 206. */
  async #ask(peerId: PeerId, asked: Asked, signal: AbortSignal): Promise<Answer> {
    try {
      const peer = this.#options.known(peerId) ?? (await this.#locate(peerId, signal))
      const answer = await this.#exchange(this.#poolFor(peer), asked, signal, true)
      this.#options.onHeard(peerId)
      if (answer.status === 200 || answer.status === 206) return answer
      // our own servers send no body with an error, and nothing else is worth reading
      const error = refuse(answer, peerId, `answered ${answer.status}`)
      throw statusError(peerId, answer.status) ?? error
    } catch (cause) {
      if (cause instanceof PeerError) throw cause
      if (!signal.aborted) this.#options.onUnreached(peerId)
      throw failure(peerId, signal, cause)
    }
  }

  #locate(peer: PeerId, signal: AbortSignal): Promise<KnownPeer> {
    const deadline = AbortSignal.timeout(this.#options.deadlines.connect)
    return this.#options.locate(peer, AbortSignal.any([signal, deadline]))
  }

  #poolFor(peer: KnownPeer): Pool {
    const existing = this.#pools.get(peer.peerId)
    if (existing?.peer === peer) return existing.pool
    // the peer connected anew, and perhaps started anew: what is idle may lead to a server that is gone
    this.release(peer.peerId)
    const pool = createPool(peer, this.#context, this.#options.deadlines.connect)
    this.#pools.set(peer.peerId, { peer, pool })
    this.#open.add(pool)
    return pool
  }

  async #exchange(pool: Pool, asked: Asked, signal: AbortSignal, again: boolean): Promise<Answer> {
    signal.throwIfAborted()
    const { connect, headers } = this.#options.deadlines
    const exchange = new Exchange(pool, asked, connect + headers)
    const onAbort = () => exchange.abort(new Error('aborted'))
    signal.addEventListener('abort', onAbort)
    let isNew = false
    const onConnect = () => {
      isNew = true
    }
    pool.once('connect', onConnect)
    const release = () => signal.removeEventListener('abort', onAbort)
    try {
      return { ...(await exchange.head), exchange, release }
    } catch (error) {
      release()
      // the server may close a kept connection just when it is used again; a new one decides
      if (again && !isNew && isReset(error) && !signal.aborted) return await this.#exchange(pool, asked, signal, false)
      throw error
    } finally {
      pool.off('connect', onConnect)
    }
  }

  async *#read(answer: Answer, peer: PeerId, length: number, signal: AbortSignal): AsyncGenerator<Uint8Array, void> {
    const { exchange, release } = answer
    let received = 0
    try {
      while (await exchange.more(this.#options.deadlines.idle)) {
        for (let chunk = exchange.take(); chunk !== undefined; chunk = exchange.take()) {
          received += chunk.length
          this.#options.onHeard(peer)
          if (received > length) throw new Error(`sent more than the ${length} bytes asked for`)
          yield chunk
        }
      }
      if (received < length) throw new Error(`sent ${received} of ${length} bytes`)
    } catch (cause) {
      if (!signal.aborted) {
        this.#options.onBroken(peer)
        this.#options.onUnreached(peer)
      }
      throw failure(peer, signal, cause)
    } finally {
      release()
      exchange.abort(new Error('the reader left'))
    }
  }
}

function failure(peer: PeerId, signal: AbortSignal, cause: unknown): PeerError {
  if (signal.aborted) return new PeerError('aborted', peer, `the request to peer ${peer} was aborted`, { cause })
  return new PeerError('failed', peer, `peer ${peer}: ${(cause as Error).message}`, { cause })
}

/** Ends an exchange whose answer is not taken. */
function refuse({ exchange, release }: Answer, peer: PeerId, what: string): PeerError {
  release()
  exchange.abort(new Error('the answer is not taken'))
  return new PeerError('failed', peer, `peer ${peer} ${what}`)
}

function isReset(error: unknown): boolean {
  const { code } = error as NodeJS.ErrnoException
  return code === 'ECONNRESET' || code === 'EPIPE' || code === 'UND_ERR_SOCKET'
}

function statusError(peer: PeerId, status: number): PeerError | undefined {
  if (status === 404) return new PeerError('absent', peer, `peer ${peer} does not have it`)
  if (status === 503) return new PeerError('busy', peer, `peer ${peer} has no upload free`)
  return undefined
}

function single(value: string | string[] | undefined): string | undefined {
  return Array.isArray(value) ? undefined : value
}

function contentLength(headers: IncomingHttpHeaders): number | undefined {
  const text = single(headers['content-length'])
  return text !== undefined && /^\d{1,15}$/.test(text) ? Number(text) : undefined
}

/** The whole blob's size, where a 206 has just the bytes that were asked for. */
function sizeFrom({ status, headers }: ResponseHead, { start, end }: OpenRange): number | undefined {
  const range = status === 206 ? parseContentRange(single(headers['content-range'])) : undefined
  if (range?.size === undefined || range.start !== start || range.end !== (end ?? range.size - 1)) return undefined
  return contentLength(headers) === range.end + 1 - start ? range.size : undefined
}

function factsOf(headers: IncomingHttpHeaders, size: number): BlobFacts {
  return {
    size,
    mediaType: mediaTypeOf(headers),
    access: accessOf(headers),
    repositories: repositoriesOf(headers),
  }
}

/** Names that are none match no repository. */
function repositoriesOf(headers: IncomingHttpHeaders): readonly string[] {
  const text = headers[REPOSITORIES_HEADER]
  return typeof text === 'string' ? text.split(',').slice(-MAX_REPOSITORIES) : []
}

/** Whatever is not told to be public is treated as private. */
function accessOf(headers: IncomingHttpHeaders): Access {
  return headers[ACCESS_HEADER] === 'public' ? 'public' : 'private'
}

function mediaTypeOf(headers: IncomingHttpHeaders): string | undefined {
  const type = parseMediaType(single(headers['content-type']))
  return type === 'application/octet-stream' ? undefined : type
}
