import type { IncomingMessage, ServerResponse } from 'node:http'
import { createServer, type Server } from 'node:https'
import type { Socket } from 'node:net'
import type { TLSSocket } from 'node:tls'
import type { ListenAddress } from '../../../config/schema.ts'
import type { Digest } from '../../../proxy/oci/digest.ts'
import { OciError } from '../../../proxy/oci/errors.ts'
import { type ByteRange, parseRange, resolveRange } from '../../../proxy/oci/range.ts'
import { FAULT_COST, REQUEST_COST } from '../limits/costs.ts'
import type { PeerId, SharedBlob, SharedContent } from '../ports.ts'
import type { TransferCertificate } from './certificate.ts'
import { Connections, type ConnectionsOptions } from './connections.ts'
import {
  ACCESS_HEADER,
  COMING_MS,
  MAX_HEADER_BYTES,
  MAX_PIPELINED,
  MAX_REPOSITORIES,
  PIECE_BYTES,
  REPOSITORIES_HEADER,
  RETRY_AFTER_SECONDS,
  SERVER_KEEP_ALIVE_MS,
  type TransferDeadlines,
} from './constants.ts'
import { Listeners } from './listeners.ts'
import { encodeConfirmation, parsePath } from './messages.ts'
import { acceptUpgrade, refuseUpgrade, type Upgraded, type UpgradeKind, upgradeAsked } from './upgrade.ts'
import { type UploadPlace, Uploads } from './uploads.ts'

interface TransferServerOptions extends ConnectionsOptions {
  readonly certificate: TransferCertificate
  readonly content: SharedContent
  /** A peer's connection is not used for HTTP any more. */
  readonly onUpgrade: (peer: PeerId, kind: UpgradeKind, upgraded: Upgraded) => void
  /** Blob bodies sent at the same time. */
  readonly uploads: number
  readonly deadlines: TransferDeadlines
  readonly onServed: (bytes: number) => void
}

/**
 * The HTTPS server that blobs leave by. A socket lives only if its client certificate is one that a known peer told over
 * libp2p, and each request asks again, because peers leave and are banned while their sockets stay open.
 */
export class TransferServer {
  readonly #options: TransferServerOptions
  readonly #server: Server
  readonly #listeners: Listeners
  readonly #connections: Connections
  readonly #uploads: Uploads

  constructor(options: TransferServerOptions) {
    this.#options = options
    this.#connections = new Connections(options)
    this.#uploads = new Uploads(options.uploads)
    const { key, cert } = options.certificate
    this.#server = createServer(
      {
        key,
        cert,
        minVersion: 'TLSv1.3',
        requestCert: true,
        // self-signed by design: #authenticate compares fingerprints
        rejectUnauthorized: false,
        handshakeTimeout: options.deadlines.headers,
        headersTimeout: options.deadlines.headers,
        requestTimeout: options.deadlines.headers,
        // a slow handshake must not be found later than the deadline by more than this
        connectionsCheckingInterval: 1000,
        keepAliveTimeout: SERVER_KEEP_ALIVE_MS,
        maxHeaderSize: MAX_HEADER_BYTES,
        noDelay: true,
      },
      (request, response) => void this.#serve(request, response),
    )
    this.#listeners = new Listeners(this.#server)
    // Also where a connection can't be accepted (too many files, no memory): the others go on.
    this.#server.on('error', (err) => options.log.debug({ err }, 'transfer server'))
    this.#server.on('connection', (socket: Socket) => this.#connections.accept(socket))
    this.#server.on('secureConnection', (socket) => this.#connections.authenticate(socket))
    this.#server.on('upgrade', (request, _, head) => this.#upgrade(request, head))
  }

  /** Listens, and gives the port. @throws {Error} that names the option, where an address can't be used */
  async start(addresses: readonly ListenAddress[]): Promise<number> {
    return await this.#listeners.start(addresses)
  }

  /** Cuts running transfers: peers go on elsewhere. */
  async stop(): Promise<void> {
    const closed = this.#listeners.stop()
    this.#connections.cutAll()
    await closed
  }

  /** Cuts the connections of a peer. */
  cut(fingerprint: string): void {
    this.#connections.cut(fingerprint)
  }

  #upgrade(request: IncomingMessage, head: Buffer): void {
    const socket = request.socket as TLSSocket
    socket.on('error', (err) => this.#options.log.debug({ err }, 'an upgraded connection'))
    // Node forgets the answers under way on a connection that is upgraded, and they would never end.
    if ((this.#connections.of(socket)?.requests ?? 0) > 0) {
      socket.destroy()
      return
    }
    const peer = this.#connections.peerOf(request.socket)?.peer
    const kind = upgradeAsked(request)
    if (peer === undefined) refuseUpgrade(socket, 403)
    else if (kind === undefined) refuseUpgrade(socket, 404)
    else this.#options.onUpgrade(peer, kind, acceptUpgrade(socket, head))
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    // no handler: Node then destroys the socket; it counts only time in which nothing was sent
    response.setTimeout(this.#options.deadlines.taking)
    const connection = this.#connections.of(request.socket)
    if (connection !== undefined) connection.requests++
    if ((connection?.requests ?? 0) > MAX_PIPELINED) {
      const peer = this.#connections.peerOf(request.socket)?.peer
      if (peer !== undefined) this.#options.limits.spend(peer, FAULT_COST, 'requests at a time')
      request.socket.destroy()
      return
    }
    try {
      await this.#answer(request, response)
    } catch (error) {
      if (response.headersSent || response.destroyed) response.destroy()
      else finish(response, 500)
      this.#options.log.debug({ path: request.url, err: error }, 'a transfer to a peer ended early')
    } finally {
      if (connection !== undefined) connection.requests--
    }
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const asker = this.#connections.peerOf(request.socket)
    if (asker === undefined) return finish(response, 403, { Connection: 'close' })
    const { peer, fingerprint } = asker
    if (!this.#options.limits.spend(peer, REQUEST_COST, 'requests'))
      return finish(response, 503, { 'Retry-After': String(RETRY_AFTER_SECONDS) })
    if (request.method !== 'GET' && request.method !== 'HEAD') return finish(response, 405, { Allow: 'GET, HEAD' })
    const asked = parsePath(request.url ?? '')
    if (asked === undefined) return finish(response, 404)
    if (asked.kind === 'tag') return await this.#answerTag(asked.reference, response)
    if (request.method === 'HEAD') return await this.#answerBlob(asked.digest, request, response)
    const place = this.#uploads.begin(fingerprint, () => request.socket.destroy())
    if (place === undefined) return finish(response, 503, { 'Retry-After': String(RETRY_AFTER_SECONDS) })
    try {
      await this.#answerBlob(asked.digest, request, response, place)
    } finally {
      place.end()
    }
  }

  async #answerTag(reference: string, response: ServerResponse): Promise<void> {
    const confirmation = await this.#options.content.tag(reference)
    if (confirmation === undefined) return finish(response, 404)
    const body = encodeConfirmation(confirmation, Date.now())
    response.writeHead(200, { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(body) })
    response.end(body)
  }

  /** @param place of a GET */
  async #answerBlob(
    digest: Digest,
    request: IncomingMessage,
    response: ServerResponse,
    place?: UploadPlace,
  ): Promise<void> {
    const blob = await this.#options.content.open(digest)
    if (blob === undefined) return finish(response, 404)
    try {
      const range = rangeOf(request, blob.size)
      const { start, end } = range ?? { start: 0, end: blob.size - 1 }
      if (!(await blob.has(start, end, COMING_MS))) return finish(response, 404)
      response.writeHead(range === undefined ? 200 : 206, {
        'Content-Type': blob.mediaType ?? 'application/octet-stream',
        'Content-Length': range === undefined ? blob.size : range.end - range.start + 1,
        'Accept-Ranges': 'bytes',
        [ACCESS_HEADER]: blob.access,
        ...(blob.access === 'private'
          ? { [REPOSITORIES_HEADER]: blob.repositories.slice(-MAX_REPOSITORIES).join(',') }
          : {}),
        ...(range === undefined ? {} : { 'Content-Range': `bytes ${range.start}-${range.end}/${blob.size}` }),
      })
      if (place !== undefined && blob.size > 0) await this.#send(blob, { start, end }, response, place)
      response.end()
    } catch (error) {
      if (!(error instanceof OciError)) throw error
      finish(response, 416, { ...error.headers })
    } finally {
      await blob.close()
    }
  }

  /** One piece at a time: the blob uses a chunk's memory again as soon as the next one is asked for. */
  async #send(
    blob: SharedBlob,
    { start, end }: ByteRange,
    response: ServerResponse,
    place: UploadPlace,
  ): Promise<void> {
    const { socket } = response.req
    if (socket.destroyed) throw new Error('the peer closed the connection')
    const gone = new AbortController()
    let written = Promise.withResolvers<void>()
    const onClose = () => {
      const reason = new Error('the peer closed the connection')
      gone.abort(reason)
      written.reject(reason)
    }
    // A response that waits behind another one has no socket yet, and is not told of the end.
    socket.once('close', onClose)
    written.promise.catch(() => {})
    try {
      for await (const chunk of blob.read(start, end, gone.signal)) {
        for (let at = 0; at < chunk.byteLength; at += PIECE_BYTES) {
          gone.signal.throwIfAborted()
          const piece = chunk.subarray(at, at + PIECE_BYTES)
          written = Promise.withResolvers()
          place.writing()
          response.write(piece, (error) => (error ? written.reject(error) : written.resolve()))
          await written.promise
          place.written()
          this.#options.onServed(piece.byteLength)
        }
      }
    } finally {
      socket.off('close', onClose)
    }
  }
}

function rangeOf(request: IncomingMessage, size: number): ByteRange | undefined {
  const spec = parseRange(request.headers.range)
  return spec === undefined ? undefined : resolveRange(spec, size)
}

function finish(response: ServerResponse, status: number, headers: Record<string, string> = {}): void {
  response.writeHead(status, { 'Content-Length': 0, ...headers })
  response.end()
}
