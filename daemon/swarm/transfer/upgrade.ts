import { type IncomingMessage, STATUS_CODES } from 'node:http'
import type { SecureContext, TLSSocket } from 'node:tls'
import type { KnownPeer } from '../known-peers.ts'
import { MAX_HEADER_BYTES, type TransferDeadlines } from './constants.ts'
import { connectPinned } from './pool.ts'

/**
 * A connection to the transfer server that is not used for HTTP any more (RFC 9110, 7.8): for messages, or for parts of answers.
 * It passes the same checks as a request, and counts as a connection of the server.
 */
export type UpgradeKind = 'control' | 'bulk'

export interface Upgraded {
  readonly socket: TLSSocket
  /**
   * Begins to read, with the bytes that came right behind the headers; to be called once. The memory that `take` is given is valid
   * until it returns. `take` may be called a few times more after the socket was paused.
   */
  readonly read: (take: (bytes: Buffer) => void) => void
}

/** What is spoken after the upgrade; another version is another name. */
const PROTOCOL = 'layerd-share/1'

/** A TLS record has no more (RFC 8446, 5.1), and each is given by itself. */
const RECORD_BYTES = 2 ** 14

const endOfHeaders = '\r\n\r\n'

/** What a request asks to be upgraded to; undefined where that is nothing of ours. */
export function upgradeAsked({ method, url, headers }: IncomingMessage): UpgradeKind | undefined {
  if (method !== 'GET' || headers.upgrade !== PROTOCOL) return undefined
  if (url === '/share/control') return 'control'
  return url === '/share/bulk' ? 'bulk' : undefined
}

/**
 * Answers 101.
 * @param head what came behind the headers
 */
export function acceptUpgrade(socket: TLSSocket, head: Buffer): Upgraded {
  // The deadlines of HTTP end here.
  socket.setTimeout(0)
  socket.write(`HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: ${PROTOCOL}${endOfHeaders}`)
  const read = (take: (bytes: Buffer) => void) => {
    // Events come from the next tick on.
    socket.on('data', take).resume()
    if (head.length > 0) take(head)
  }
  return { socket, read }
}

/** Answers with an error, and closes. */
export function refuseUpgrade(socket: TLSSocket, status: number): void {
  socket.write(`HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\nConnection: close\r\nContent-Length: 0${endOfHeaders}`)
  socket.destroySoon()
}

/**
 * Connects to a peer's transfer server, and has the connection upgraded. Rejects where the server is not the peer's, does not
 * answer 101 within the deadlines for connecting and for headers, or the signal is aborted.
 *
 * Each record is read into the same memory. A server's socket takes fresh memory for each, and a node then spent 2.1 s of CPU time
 * on receiving 1 GB in place of 0.45 s.
 */
export async function openUpgraded(
  peer: KnownPeer,
  kind: UpgradeKind,
  context: SecureContext,
  { connect, headers }: TransferDeadlines,
  signal: AbortSignal,
): Promise<Upgraded> {
  signal.throwIfAborted()
  const secure = Promise.withResolvers<void>()
  const answer = new Answer()
  let take = (bytes: Buffer) => answer.push(bytes)
  const onread = {
    buffer: Buffer.allocUnsafeSlow(RECORD_BYTES),
    callback: (length: number, bytes: Uint8Array) => {
      take((bytes as Buffer).subarray(0, length))
      return true
    },
  }
  const onConnect = (error: Error | undefined) => (error ? secure.reject(error) : secure.resolve())
  const socket = connectPinned(peer, context, connect, onConnect, onread)
  const fail = () => answer.fail(new Error('the peer closed the connection before it answered'))
  // This one stays: an error of a socket that nobody listens to would end the process.
  socket.on('error', fail)
  const onAbort = () => socket.destroy()
  signal.addEventListener('abort', onAbort, { once: true })
  let timer: NodeJS.Timeout | undefined
  try {
    await secure.promise
    timer = setTimeout(() => answer.fail(new Error(`no answer within ${headers} ms`)), headers)
    socket.once('close', fail).once('end', fail)
    socket.write(
      `GET /share/${kind} HTTP/1.1\r\nHost: layerd\r\nConnection: Upgrade\r\nUpgrade: ${PROTOCOL}${endOfHeaders}`,
    )
    await answer.isAccepted
    signal.throwIfAborted()
    const read = (next: (bytes: Buffer) => void) => {
      take = next
      const rest = answer.rest()
      if (rest.length > 0) next(rest)
    }
    return { socket, read }
  } catch (error) {
    socket.destroy()
    signal.throwIfAborted()
    throw error
  } finally {
    clearTimeout(timer)
    socket.off('close', fail).off('end', fail)
    signal.removeEventListener('abort', onAbort)
  }
}

/** The headers of a 101, and the bytes behind them until they are read, which is in the same turn of the event loop. */
class Answer {
  readonly #accepted = Promise.withResolvers<void>()
  #received = Buffer.alloc(0)
  #headLength: number | undefined

  constructor() {
    // An answer may fail before the certificate was found right, and then nobody waits for it.
    this.#accepted.promise.catch(() => {})
  }

  /** Rejects where the peer answers something else. */
  get isAccepted(): Promise<void> {
    return this.#accepted.promise
  }

  push(bytes: Buffer): void {
    this.#received = Buffer.concat([this.#received, bytes])
    if (this.#headLength !== undefined) return
    const end = this.#received.indexOf(endOfHeaders)
    if (end === -1) {
      if (this.#received.length > MAX_HEADER_BYTES)
        this.fail(new Error(`it answered more than ${MAX_HEADER_BYTES} bytes`))
      return
    }
    this.#headLength = end + endOfHeaders.length
    const [status = ''] = this.#received.toString('latin1', 0, end).split('\r\n')
    if (/^HTTP\/1\.1 101 /.test(status)) this.#accepted.resolve()
    else this.fail(new Error(`the peer does not share: it answered "${status.slice(0, 80)}"`))
  }

  fail(error: Error): void {
    this.#accepted.reject(error)
  }

  rest(): Buffer {
    return this.#received.subarray(this.#headLength)
  }
}
