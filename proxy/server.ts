import { createServer, type IncomingMessage, type RequestListener, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Duplex } from 'node:stream'
import { limitConnections } from './connections.ts'
import { OciError } from './oci/errors.ts'
import { watchUpload } from './slow-uploads.ts'

export interface RunningServer {
  /** `host:port` that is really listened on. */
  readonly address: string
  /** Takes no more requests, lets running responses finish for so many ms, then cuts them. */
  stop(deadline: number): Promise<void>
}

interface ListenOptions {
  readonly host: string
  readonly port: number
  /** Names the option in error messages, such as `registry.listen`. */
  readonly option: string
}

/** A connection on which nothing moves for so long, in ms, is dead. */
const idleTimeout = 300_000

/** How often a server that stops looks for connections whose response is over, in ms. */
const idleCheckInterval = 100

/** Headers must be complete within this many ms: a slow one is broken or hostile. */
const headersTimeout = 20_000

/** Bytes of a request's line and headers; tokens of cloud registries take several KiB. */
const maxHeaderSize = 32 * 1024

/**
 * Requests of one connection that wait while an earlier one is answered; with more the connection is cut. A client may send the
 * next one when it has all bytes of an answer, which is a moment before the answer is over here; no client of registries sends
 * more of them ahead (pipelining, RFC 9112, 9.3.2).
 */
const maxWaiting = 8

/** Starts an HTTP server. @throws Error that names the option to change, where the address can't be had */
export async function listen(handler: RequestListener, { host, port, option }: ListenOptions): Promise<RunningServer> {
  // How long a request may take is judged by what comes of it: a layer that is pushed takes its time.
  const server = createServer({ maxHeaderSize, headersTimeout, requestTimeout: 0, noDelay: true })
  server.timeout = idleTimeout
  const turns = new Turns((request, response) => {
    // A client that keeps its connection would otherwise hold up a stop, request after request.
    if (!server.listening) response.setHeader('Connection', 'close')
    watchUpload(request)
    handler(request, response)
  })
  limitConnections(server, (socket) => turns.isAnswering(socket))
  for (const event of ['request', 'checkContinue'] as const) {
    // Whoever waits for a 100 Continue is told to go on when its body is wanted.
    server.on(event, (request, response) => turns.take(request, response))
  }
  server.on('clientError', (error: NodeJS.ErrnoException, socket) => {
    // Nothing else may be written where a response is being written.
    if (turns.isAnswering(socket)) socket.destroy()
    else answerBadRequest(error, socket)
  })
  await new Promise<void>((resolve, reject) => {
    // Once it listens, an error is one of accepting a connection (too many files, no memory): the others go on.
    server.on('error', (error: NodeJS.ErrnoException) => reject(explain(error, host, port, option)))
    server.listen(port, host, resolve)
  })
  const { address, port: actual, family } = server.address() as AddressInfo
  return {
    address: family === 'IPv6' ? `[${address}]:${actual}` : `${address}:${actual}`,
    stop: (deadline) => stop(server, deadline),
  }
}

type Exchange = readonly [request: IncomingMessage, response: ServerResponse]

/** One request of a connection at a time: what is read for an answer that can't be sent yet would be kept in memory. */
class Turns {
  readonly #answer: RequestListener
  /** What waits on each connection on which a response is being written. */
  readonly #waiting = new WeakMap<Duplex, Exchange[]>()

  constructor(answer: RequestListener) {
    this.#answer = answer
  }

  isAnswering(socket: Duplex): boolean {
    return this.#waiting.has(socket)
  }

  take(request: IncomingMessage, response: ServerResponse): void {
    const { socket } = request
    const waiting = this.#waiting.get(socket)
    if (waiting === undefined) {
      this.#waiting.set(socket, [])
      this.#begin(request, response)
    } else if (waiting.length < maxWaiting) waiting.push([request, response])
    else socket.destroy()
  }

  #begin(request: IncomingMessage, response: ServerResponse): void {
    const { socket } = request
    response.once('close', () => {
      // Where it was the last answer of its connection, those that wait are never told that it is over.
      const next = socket.writable ? this.#waiting.get(socket)?.shift() : undefined
      if (next === undefined) this.#waiting.delete(socket)
      else this.#begin(...next)
    })
    this.#answer(request, response)
  }
}

async function stop(server: Server, deadline: number): Promise<void> {
  const closed = new Promise<void>((resolve) => server.close(() => resolve()))
  const idle = setInterval(() => server.closeIdleConnections(), idleCheckInterval)
  const cut = setTimeout(() => server.closeAllConnections(), deadline)
  server.closeIdleConnections()
  await closed
  clearInterval(idle)
  clearTimeout(cut)
}

function explain(error: NodeJS.ErrnoException, host: string, port: number, option: string): Error {
  const reasons: Record<string, string> = {
    EADDRINUSE: 'another program listens there',
    EACCES: 'this user may not listen there',
    EADDRNOTAVAIL: 'this machine has no such address',
  }
  const reason = reasons[error.code ?? ''] ?? error.message
  return new Error(`can't listen on ${host}:${port} (${option}): ${reason}`, { cause: error })
}

/** Requests that Node's parser refuses never reach Koa; they get an answer that says why all the same. */
function answerBadRequest(error: NodeJS.ErrnoException, socket: Duplex): void {
  if (!socket.writable || error.code === 'ECONNRESET') {
    socket.destroy()
    return
  }
  const tooLarge = error.code === 'HPE_HEADER_OVERFLOW'
  const status = tooLarge ? '431 Request Header Fields Too Large' : '400 Bad Request'
  const message = tooLarge
    ? `URL and headers together have more than ${maxHeaderSize} bytes`
    : 'this is not an HTTP/1.1 request that can be read'
  const body = new OciError('UNKNOWN', message).body()
  const head = `HTTP/1.1 ${status}\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}`
  socket.end(`${head}\r\nConnection: close\r\n\r\n${body}`)
}
