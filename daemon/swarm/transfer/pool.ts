import type { OnReadOpts } from 'node:net'
import { type ConnectionOptions, connect, createSecureContext, type SecureContext, type TLSSocket } from 'node:tls'
import { type buildConnector, Pool } from 'undici'
import type { KnownPeer } from '../known-peers.ts'
import { afterReads } from '../turns.ts'
import { fingerprintOf, type TransferCertificate } from './certificate.ts'
import { CLIENT_KEEP_ALIVE_MS, MAX_HEADER_BYTES, MAX_SOCKETS_PER_PEER } from './constants.ts'

export function createClientContext({ key, cert }: TransferCertificate): SecureContext {
  return createSecureContext({ key, cert, minVersion: 'TLSv1.3' })
}

/** Connections to one peer's transfer server, pinned to the certificate that it told. `connectMs` bounds each handshake. */
export function createPool(peer: KnownPeer, context: SecureContext, connectMs: number): Pool {
  const host = peer.host.includes(':') ? `[${peer.host}]` : peer.host
  const pool = new Pool(`https://${host}:${peer.port}`, {
    connections: MAX_SOCKETS_PER_PEER,
    pipelining: 1,
    keepAliveTimeout: CLIENT_KEEP_ALIVE_MS,
    keepAliveMaxTimeout: CLIENT_KEEP_ALIVE_MS,
    maxHeaderSize: MAX_HEADER_BYTES,
    // exchange.ts has its own deadlines: undici's are coarse, and count what waits for a free connection
    headersTimeout: 0,
    bodyTimeout: 0,
    connect: pinnedConnector(peer, context, connectMs),
  })
  // each request listens for a new connection
  return pool.setMaxListeners(0)
}

/** A request gets a socket only after the server showed the certificate that the peer told. */
function pinnedConnector(peer: KnownPeer, context: SecureContext, connectMs: number): buildConnector.connector {
  return (_, callback) => {
    const socket = connectPinned(peer, context, connectMs, (error) => {
      if (error === undefined) callback(null, socket)
      else callback(error, null)
    })
  }
}

/** No connection came about in time: the other end is silent, or this node was busy. */
export class ConnectTimeoutError extends Error {
  constructor(connectMs: number) {
    super(`no connection within ${connectMs} ms`)
    this.name = 'ConnectTimeoutError'
  }
}

/** What listens there is not the peer's transfer server. */
export class OtherServerError extends Error {
  constructor(why = 'the server has another certificate than the peer told', options?: ErrorOptions) {
    super(why, options)
    this.name = 'OtherServerError'
  }
}

/** Codes of errors where the other end sends something else than TLS. */
const noTls = /^(?:EPROTO$|ERR_SSL_)/

/**
 * Calls back once, when the time is over and no connection has come about. Gives the function that ends the waiting.
 * @param connectMs in ms
 */
export function connectDeadline(connectMs: number, onLate: (error: ConnectTimeoutError) => void): () => void {
  let isOver = false
  const timer = setTimeout(async () => {
    await afterReads()
    if (!isOver) onLate(new ConnectTimeoutError(connectMs))
  }, connectMs)
  return () => {
    isOver = true
    clearTimeout(timer)
  }
}

/**
 * Connects to a peer's transfer server. The callback is called once: without an error when the server has shown the certificate
 * that the peer told. Whoever destroys the socket before that gives up.
 * @param connectMs bounds the TCP and the TLS handshake together
 * @param onread memory that is read into, and who is told: there are no `data` events then
 */
export function connectPinned(
  { host, port, fingerprint }: KnownPeer,
  secureContext: SecureContext,
  connectMs: number,
  callback: (error: Error | undefined) => void,
  onread?: OnReadOpts,
): TLSSocket {
  // Of an option that node:tls passes on to node:net, as its documentation says, its types know nothing.
  const options: ConnectionOptions & { onread?: OnReadOpts } = { host, port, secureContext, rejectUnauthorized: false }
  if (onread !== undefined) options.onread = onread
  const socket = connect(options)
  const onError = (error: NodeJS.ErrnoException) =>
    settle(noTls.test(error.code ?? '') ? new OtherServerError('it speaks no TLS', { cause: error }) : error)
  const settle = (error: Error | undefined) => {
    endDeadline()
    socket.off('secureConnect', onSecure).off('error', onError).off('close', onClose)
    if (error !== undefined) socket.on('error', () => {}).destroy()
    callback(error)
  }
  const onSecure = () => {
    const shown = socket.getPeerX509Certificate()
    const right = shown !== undefined && fingerprintOf(shown.raw) === fingerprint
    settle(right ? undefined : new OtherServerError())
  }
  const onClose = () => settle(new Error('the connection was closed during the TLS handshake'))
  const endDeadline = connectDeadline(connectMs, settle)
  return socket.once('secureConnect', onSecure).once('error', onError).once('close', onClose)
}
