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

/** The socket, paused, and what came right behind the headers. */
export interface Upgraded {
  readonly socket: TLSSocket
  readonly head: Buffer
}

/** What is spoken after the upgrade; another version is another name. */
const PROTOCOL = 'layerd-share/1'

const endOfHeaders = '\r\n\r\n'

/** What a request asks to be upgraded to; undefined where that is nothing of ours. */
export function upgradeAsked({ method, url, headers }: IncomingMessage): UpgradeKind | undefined {
  if (method !== 'GET' || headers.upgrade !== PROTOCOL) return undefined
  if (url === '/share/control') return 'control'
  return url === '/share/bulk' ? 'bulk' : undefined
}

/** Answers 101. */
export function acceptUpgrade(socket: TLSSocket): void {
  // Those of HTTP end here.
  socket.setTimeout(0)
  socket.write(`HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: ${PROTOCOL}${endOfHeaders}`)
}

/** Answers with an error, and closes. */
export function refuseUpgrade(socket: TLSSocket, status: number): void {
  socket.write(`HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\nConnection: close\r\nContent-Length: 0${endOfHeaders}`)
  socket.destroySoon()
}

/**
 * Connects to a peer's transfer server, and has the connection upgraded. Rejects where the server is not the peer's, does not
 * answer 101 within the deadlines for connecting and for headers, or the signal is aborted.
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
  const socket = connectPinned(peer, context, connect, (error) => (error ? secure.reject(error) : secure.resolve()))
  const onAbort = () => socket.destroy()
  signal.addEventListener('abort', onAbort, { once: true })
  try {
    await secure.promise
    socket.setNoDelay(true)
    socket.write(
      `GET /share/${kind} HTTP/1.1\r\nHost: layerd\r\nConnection: Upgrade\r\nUpgrade: ${PROTOCOL}${endOfHeaders}`,
    )
    return { socket, head: await readAnswer(socket, headers) }
  } catch (error) {
    socket.destroy()
    signal.throwIfAborted()
    throw error
  } finally {
    signal.removeEventListener('abort', onAbort)
  }
}

/** Reads the headers of a 101, and gives what came behind them; the socket is paused then. */
async function readAnswer(socket: TLSSocket, ms: number): Promise<Buffer> {
  const { promise, resolve, reject } = Promise.withResolvers<Buffer>()
  let received = Buffer.alloc(0)
  const onData = (bytes: Buffer) => {
    received = Buffer.concat([received, bytes])
    const end = received.indexOf(endOfHeaders)
    if (end === -1) {
      if (received.length > MAX_HEADER_BYTES) reject(new Error(`the answer has more than ${MAX_HEADER_BYTES} bytes`))
      return
    }
    // Nothing may be read before somebody listens for it.
    socket.pause()
    const [status = ''] = received.toString('latin1', 0, end).split('\r\n')
    if (/^HTTP\/1\.1 101 /.test(status)) resolve(received.subarray(end + endOfHeaders.length))
    else reject(new Error(`the peer does not share: it answered "${status.slice(0, 80)}"`))
  }
  const onClose = () => reject(new Error('the peer closed the connection before it answered'))
  const timer = setTimeout(() => reject(new Error(`no answer within ${ms} ms`)), ms)
  // Stays: an error of a socket that nobody listens to would end the process.
  socket.on('error', reject)
  socket.on('data', onData).on('close', onClose).on('end', onClose)
  try {
    return await promise
  } finally {
    clearTimeout(timer)
    socket.off('data', onData).off('close', onClose).off('end', onClose)
  }
}
