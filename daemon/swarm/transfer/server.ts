import { once } from 'node:events'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { createServer, type Server } from 'node:https'
import type { AddressInfo, Socket } from 'node:net'
import type { TLSSocket } from 'node:tls'
import type { Logger } from 'pino'
import type { ListenAddress } from '../../../config/schema.ts'
import type { Digest } from '../../../proxy/oci/digest.ts'
import { OciError } from '../../../proxy/oci/errors.ts'
import { type ByteRange, parseRange, resolveRange } from '../../../proxy/oci/range.ts'
import { listenProblem } from '../listen-error.ts'
import type { PeerId, SharedBlob, SharedContent } from '../ports.ts'
import { fingerprintOf, type TransferCertificate } from './certificate.ts'
import {
  ACCESS_HEADER,
  COMING_MS,
  MAX_CONNECTIONS,
  MAX_HANDSHAKES_OF_ADDRESS,
  MAX_HEADER_BYTES,
  MAX_REPOSITORIES,
  REPOSITORIES_HEADER,
  RETRY_AFTER_SECONDS,
  SERVER_KEEP_ALIVE_MS,
  type TransferDeadlines,
} from './constants.ts'
import { encodeConfirmation, parsePath } from './messages.ts'
import { acceptUpgrade, refuseUpgrade, type Upgraded, type UpgradeKind, upgradeAsked } from './upgrade.ts'
import { type UploadPlace, Uploads } from './uploads.ts'

interface TransferServerOptions {
  readonly certificate: TransferCertificate
  readonly content: SharedContent
  /** The known peer that told this certificate, if it is not banned; the address is that of its socket. */
  readonly identify: (fingerprint: string, address: string | undefined) => PeerId | undefined
  /** A peer's connection is not used for HTTP any more. */
  readonly onUpgrade: (peer: PeerId, kind: UpgradeKind, upgraded: Upgraded) => void
  /** Blob bodies sent at the same time. */
  readonly uploads: number
  readonly deadlines: TransferDeadlines
  readonly onServed: (bytes: number) => void
  readonly log: Logger
}

/** A connection whose peer has shown its certificate. */
interface Connection {
  readonly socket: TLSSocket
  readonly fingerprint: string
  /** Requests that are not answered to the end. */
  requests: number
}

/**
 * The HTTPS server that blobs leave by. A socket lives only if its client certificate is one that a known peer told over
 * libp2p, and each request asks again, because peers leave and are banned while their sockets stay open.
 */
export class TransferServer {
  readonly #options: TransferServerOptions
  readonly #server: Server
  readonly #connections = new Map<object, Connection>()
  /** All TCP connections, those within their TLS handshake too, which `closeAllConnections` does not know. */
  readonly #sockets = new Set<Socket>()
  /** Ports of connections that have not been authenticated yet, by address. */
  readonly #handshakes = new Map<string, Set<number>>()
  readonly #uploads: Uploads

  constructor(options: TransferServerOptions) {
    this.#options = options
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
    this.#server.maxConnections = MAX_CONNECTIONS
    // Also where a connection can't be accepted (too many files, no memory): the others go on.
    this.#server.on('error', (err) => options.log.debug({ err }, 'transfer server'))
    this.#server.on('connection', (socket: Socket) => this.#accept(socket))
    this.#server.on('secureConnection', (socket) => this.#authenticate(socket))
    this.#server.on('upgrade', (request, _, head) => this.#upgrade(request, head))
  }

  /** Listens, and gives the port. @throws {Error} that names the option, where the address can't be used */
  async start({ host, port }: ListenAddress): Promise<number> {
    try {
      this.#server.listen({ host, port, exclusive: true })
      await once(this.#server, 'listening')
    } catch (error) {
      const problem =
        (await listenProblem({ host, port }, '--transfer-listen (swarm.transferListen)')) ?? (error as Error)
      throw new Error(`swarm.transferListen: can't listen on ${host}:${port}: ${problem.message}`)
    }
    return (this.#server.address() as AddressInfo).port
  }

  /** Cuts running transfers: peers go on elsewhere. */
  async stop(): Promise<void> {
    if (!this.#server.listening) return
    const closed = once(this.#server, 'close')
    this.#server.close()
    for (const socket of this.#sockets) socket.destroy()
    await closed
  }

  /** Cuts the connections of a peer. */
  cut(fingerprint: string): void {
    for (const { socket, fingerprint: shown } of this.#connections.values()) if (shown === fingerprint) socket.destroy()
  }

  /** Strangers must not take all connections: who has not shown a certificate yet has few. */
  #accept(socket: Socket): void {
    const { remoteAddress: address = '', remotePort: port = 0 } = socket
    const ports = this.#handshakes.get(address) ?? new Set()
    if (ports.size >= MAX_HANDSHAKES_OF_ADDRESS) {
      socket.destroy()
      return
    }
    this.#handshakes.set(address, ports.add(port))
    this.#sockets.add(socket)
    socket.once('close', () => {
      this.#sockets.delete(socket)
      this.#handshakeEnded(address, port)
    })
  }

  #handshakeEnded(address: string, port: number): void {
    const ports = this.#handshakes.get(address)
    ports?.delete(port)
    if (ports?.size === 0) this.#handshakes.delete(address)
  }

  #authenticate(socket: TLSSocket): void {
    this.#handshakeEnded(socket.remoteAddress ?? '', socket.remotePort ?? 0)
    const certificate = socket.getPeerX509Certificate()
    const fingerprint = certificate === undefined ? undefined : fingerprintOf(certificate.raw)
    if (fingerprint === undefined || this.#options.identify(fingerprint, socket.remoteAddress) === undefined) {
      this.#options.log.debug({ address: socket.remoteAddress }, 'a stranger came to the transfer server')
      socket.destroy()
      return
    }
    this.#connections.set(socket, { socket, fingerprint, requests: 0 })
    socket.once('close', () => this.#connections.delete(socket))
  }

  #upgrade(request: IncomingMessage, head: Buffer): void {
    const socket = request.socket as TLSSocket
    socket.on('error', (err) => this.#options.log.debug({ err }, 'an upgraded connection'))
    // Node forgets the answers under way on a connection that is upgraded, and they would never end.
    if ((this.#connections.get(socket)?.requests ?? 0) > 0) {
      socket.destroy()
      return
    }
    const peer = this.#peerOf(request)?.peer
    const kind = upgradeAsked(request)
    if (peer === undefined) refuseUpgrade(socket, 403)
    else if (kind === undefined) refuseUpgrade(socket, 404)
    else this.#options.onUpgrade(peer, kind, acceptUpgrade(socket, head))
  }

  /** Who sends a request, as far as it is admitted now. */
  #peerOf({ socket }: IncomingMessage): { readonly peer: PeerId; readonly fingerprint: string } | undefined {
    const fingerprint = this.#connections.get(socket)?.fingerprint
    if (fingerprint === undefined) return undefined
    const peer = this.#options.identify(fingerprint, socket.remoteAddress)
    return peer === undefined ? undefined : { peer, fingerprint }
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    // no handler: Node then destroys the socket; it counts only time in which nothing was sent
    response.setTimeout(this.#options.deadlines.taking)
    const connection = this.#connections.get(request.socket)
    if (connection !== undefined) connection.requests++
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
    const asker = this.#peerOf(request)
    if (asker === undefined) return finish(response, 403, { Connection: 'close' })
    const { fingerprint } = asker
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

  /** One chunk at a time: the blob uses a chunk's memory again as soon as the next one is asked for. */
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
        gone.signal.throwIfAborted()
        written = Promise.withResolvers()
        place.writing(chunk.byteLength)
        response.write(chunk, (error) => (error ? written.reject(error) : written.resolve()))
        await written.promise
        place.written()
        this.#options.onServed(chunk.byteLength)
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
