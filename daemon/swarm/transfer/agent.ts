import { Agent } from 'node:https'
import type { Duplex } from 'node:stream'
import { connect, createSecureContext, type SecureContext } from 'node:tls'
import type { KnownPeer } from '../known-peers.ts'
import { fingerprintOf, type TransferCertificate } from './certificate.ts'
import { CLIENT_KEEP_ALIVE_MS, MAX_IDLE_SOCKETS_PER_PEER, MAX_SOCKETS_PER_PEER } from './constants.ts'

export function createClientContext({ key, cert }: TransferCertificate): SecureContext {
  return createSecureContext({ key, cert, minVersion: 'TLSv1.3' })
}

/** Connections to one peer. A request gets a socket only after the server showed the certificate that the peer told. */
export class PinnedAgent extends Agent {
  readonly #peer: KnownPeer
  readonly #context: SecureContext
  readonly #connectMs: number

  constructor(peer: KnownPeer, context: SecureContext, connectMs: number) {
    super({
      keepAlive: true,
      maxSockets: MAX_SOCKETS_PER_PEER,
      maxFreeSockets: MAX_IDLE_SOCKETS_PER_PEER,
      timeout: CLIENT_KEEP_ALIVE_MS,
      // a resumed session would not show the certificate again
      maxCachedSessions: 0,
    })
    this.#peer = peer
    this.#context = context
    this.#connectMs = connectMs
  }

  /** Closes idle connections now and the others as soon as they become idle. */
  release(): void {
    this.maxFreeSockets = 0
    for (const sockets of Object.values(this.freeSockets)) for (const socket of sockets ?? []) socket.destroy()
  }

  override createConnection(_: unknown, callback?: (error: Error | null, socket: Duplex) => void): undefined {
    const { host, port, fingerprint } = this.#peer
    const socket = connect({ host, port, secureContext: this.#context, rejectUnauthorized: false })
    const settle = (error: Error | null) => {
      clearTimeout(timer)
      socket.off('secureConnect', onSecure).off('error', settle).off('close', onClose)
      if (error !== null) socket.on('error', () => {}).destroy()
      callback?.(error, socket)
    }
    const onSecure = () => {
      const shown = socket.getPeerX509Certificate()
      const right = shown !== undefined && fingerprintOf(shown.raw) === fingerprint
      settle(right ? null : new Error('the server has another certificate than the peer told'))
    }
    const onClose = () => settle(new Error('the connection was closed during the TLS handshake'))
    const timer = setTimeout(() => settle(new Error(`no connection within ${this.#connectMs} ms`)), this.#connectMs)
    socket.once('secureConnect', onSecure).once('error', settle).once('close', onClose)
  }
}
