import { setMaxListeners } from 'node:events'
import type { IncomingMessage } from 'node:http'
import { request } from 'node:https'
import type { SecureContext } from 'node:tls'
import type { Digest } from '../../../proxy/oci/digest.ts'
import { parseContentRange } from '../../../proxy/oci/range.ts'
import type { KnownPeer } from '../known-peers.ts'
import { type Access, type PeerBody, PeerError, type PeerId, type TagConfirmation } from '../ports.ts'
import { createClientContext, PinnedAgent } from './agent.ts'
import { readAll, readBody } from './body.ts'
import type { TransferCertificate } from './certificate.ts'
import { ACCESS_HEADER, MAX_HEADER_BYTES, MAX_TAG_BYTES, type TransferDeadlines } from './constants.ts'
import { blobPath, decodeConfirmation, tagPath } from './messages.ts'

interface TransferClientOptions {
  readonly certificate: TransferCertificate
  /** Gives a peer's transfer address, connecting to it first where needed. Rejects when the signal is aborted. */
  readonly locate: (peer: PeerId, signal: AbortSignal) => Promise<KnownPeer>
  readonly deadlines: TransferDeadlines
  /** Told when a peer fails after it began to answer. */
  readonly onBroken: (peer: PeerId) => void
}

interface Asked {
  readonly method: 'GET' | 'HEAD'
  readonly path: string
  readonly headers?: Record<string, string>
}

/** Fetches blobs and tags from the transfer servers of peers. All methods throw {@link PeerError} and nothing else. */
export class TransferClient {
  readonly #options: TransferClientOptions
  readonly #context: SecureContext
  readonly #agents = new Map<PeerId, { readonly peer: KnownPeer; readonly agent: PinnedAgent }>()

  readonly #stopped = new AbortController()

  constructor(options: TransferClientOptions) {
    this.#options = options
    setMaxListeners(0, this.#stopped.signal)
    this.#context = createClientContext(options.certificate)
  }

  /** Starts a transfer of the bytes from `offset` to the end. */
  async open(peer: PeerId, digest: Digest, offset: number, signal: AbortSignal): Promise<PeerBody> {
    const headers = offset === 0 ? {} : { Range: `bytes=${offset}-` }
    const response = await this.#ask(peer, { method: 'GET', path: blobPath(digest), headers }, signal)
    const size = offset === 0 ? contentLength(response) : sizeFrom(response, offset)
    if (size === undefined) {
      response.destroy()
      throw new PeerError(
        'failed',
        peer,
        `peer ${peer} answered ${response.statusCode} with other bytes than asked for`,
      )
    }
    const body = this.#read(response, peer, size - offset, signal)
    return { size, mediaType: mediaTypeOf(response), access: accessOf(response), body }
  }

  async stat(peer: PeerId, digest: Digest, signal: AbortSignal): Promise<Omit<PeerBody, 'body'>> {
    const response = await this.#ask(peer, { method: 'HEAD', path: blobPath(digest) }, signal)
    response.resume()
    const size = contentLength(response)
    if (size === undefined) throw new PeerError('failed', peer, `peer ${peer} told no size`)
    return { size, mediaType: mediaTypeOf(response), access: accessOf(response) }
  }

  /** What a peer knows of a tag; undefined where it claims a confirmation in the future. */
  async tag(peer: PeerId, reference: string, signal: AbortSignal): Promise<TagConfirmation | undefined> {
    const response = await this.#ask(peer, { method: 'GET', path: tagPath(reference) }, signal)
    const length = contentLength(response)
    if (length === undefined || length > MAX_TAG_BYTES) {
      response.destroy()
      throw new PeerError('failed', peer, `peer ${peer} sent a tag answer of the wrong size`)
    }
    const text = new TextDecoder().decode(await readAll(this.#read(response, peer, length, signal)))
    try {
      return decodeConfirmation(text, Date.now())
    } catch (cause) {
      throw new PeerError('failed', peer, `peer ${peer} sent a malformed tag answer`, { cause })
    }
  }

  /** Lets running transfers from a peer finish, but keeps no connection to it. */
  release(peer: PeerId): void {
    this.#agents.get(peer)?.agent.release()
    this.#agents.delete(peer)
  }

  /** Cuts all transfers from a peer. */
  cut(peer: PeerId): void {
    this.#agents.get(peer)?.agent.destroy()
    this.#agents.delete(peer)
  }

  stop(): void {
    this.#stopped.abort(new Error('the node stops'))
    for (const peer of [...this.#agents.keys()]) this.cut(peer)
  }

  #read(response: IncomingMessage, peer: PeerId, length: number, signal: AbortSignal): AsyncIterable<Uint8Array> {
    const { deadlines, onBroken } = this.#options
    return readBody(response, { peer, length, idleMs: deadlines.idle, signal, onBroken })
  }

  /** Sends a request and waits for the headers of a 200 or 206. */
  async #ask(peerId: PeerId, asked: Asked, signal: AbortSignal): Promise<IncomingMessage> {
    try {
      const peer = await this.#locate(peerId, signal)
      const response = await this.#send(this.#agentFor(peer), peer, asked, signal)
      if (response.statusCode === 200 || response.statusCode === 206) return response
      // our own servers send no body with an error; nothing else is worth reading
      if (contentLength(response) === 0) response.resume()
      else response.destroy()
      throw statusError(peerId, response.statusCode)
    } catch (cause) {
      if (cause instanceof PeerError) throw cause
      if (signal.aborted) throw new PeerError('aborted', peerId, `the request to peer ${peerId} was aborted`, { cause })
      throw new PeerError('failed', peerId, `peer ${peerId}: ${(cause as Error).message}`, { cause })
    }
  }

  async #locate(peer: PeerId, signal: AbortSignal): Promise<KnownPeer> {
    const deadline = AbortSignal.timeout(this.#options.deadlines.connect)
    return await this.#options.locate(peer, AbortSignal.any([signal, deadline]))
  }

  #agentFor(peer: KnownPeer): PinnedAgent {
    const existing = this.#agents.get(peer.peerId)
    if (existing?.peer === peer) return existing.agent
    // the peer started anew: whatever is still open leads to a server that is gone
    this.release(peer.peerId)
    const agent = new PinnedAgent(peer, this.#context, this.#options.deadlines.connect)
    this.#agents.set(peer.peerId, { peer, agent })
    return agent
  }

  async #send(agent: PinnedAgent, peer: KnownPeer, asked: Asked, signal: AbortSignal): Promise<IncomingMessage> {
    const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>()
    const { host, port } = peer
    const either = AbortSignal.any([signal, this.#stopped.signal])
    const sent = request({ ...asked, agent, host, port, signal: either, maxHeaderSize: MAX_HEADER_BYTES })
    const { connect, headers } = this.#options.deadlines
    const timer = setTimeout(() => sent.destroy(new Error('no answer in time')), connect + headers)
    sent.once('response', resolve)
    sent.on('error', reject)
    sent.end()
    try {
      return await promise
    } catch (error) {
      // the server may close a kept connection just when it is used again; a new one decides
      if (sent.reusedSocket && !signal.aborted && isReset(error)) return await this.#send(agent, peer, asked, signal)
      throw error
    } finally {
      clearTimeout(timer)
    }
  }
}

function isReset(error: unknown): boolean {
  const code = (error as NodeJS.ErrnoException).code
  return code === 'ECONNRESET' || code === 'EPIPE'
}

function statusError(peer: PeerId, status: number | undefined): PeerError {
  if (status === 404) return new PeerError('absent', peer, `peer ${peer} does not have it`)
  if (status === 503) return new PeerError('busy', peer, `peer ${peer} has no upload free`)
  return new PeerError('failed', peer, `peer ${peer} answered ${status}`)
}

function contentLength(response: IncomingMessage): number | undefined {
  const text = response.headers['content-length']
  return text !== undefined && /^\d{1,15}$/.test(text) ? Number(text) : undefined
}

/** The whole blob's size, where a 206 has just the bytes from `offset` to the end. */
function sizeFrom(response: IncomingMessage, offset: number): number | undefined {
  const range = response.statusCode === 206 ? parseContentRange(response.headers['content-range']) : undefined
  const right = range?.start === offset && range.size === range.end + 1
  return right && contentLength(response) === range.size - offset ? range.size : undefined
}

/** Whatever is not told to be public is treated as private. */
function accessOf(response: IncomingMessage): Access {
  return response.headers[ACCESS_HEADER] === 'public' ? 'public' : 'private'
}

const mediaTypePattern = /^[\w!#$&^.+-]{1,127}\/[\w!#$&^.+-]{1,127}(?:\s*;[\x20-\x7e]{0,127})?$/

function mediaTypeOf(response: IncomingMessage): string | undefined {
  const text = response.headers['content-type']
  if (text === undefined || text === 'application/octet-stream' || !mediaTypePattern.test(text)) return undefined
  return text
}
