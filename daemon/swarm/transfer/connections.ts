import type { Socket } from 'node:net'
import type { TLSSocket } from 'node:tls'
import type { Logger } from 'pino'
import { Arrivals } from '../limits/arrivals.ts'
import { REFUSED_CONNECTION_COST, TRANSFER_CONNECTION_COST } from '../limits/costs.ts'
import { originOf } from '../limits/network.ts'
import type { PeerLimits } from '../limits/peer-limits.ts'
import { type Place, Places } from '../limits/places.ts'
import type { PeerId } from '../ports.ts'
import { fingerprintOf } from './certificate.ts'
import {
  ARRIVALS,
  ARRIVALS_PER_SECOND,
  HANDSHAKE_PATIENCE_MS,
  MAX_CONNECTIONS,
  MAX_CONNECTIONS_OF_PEER,
  MAX_HANDSHAKES,
  STRANGER,
} from './constants.ts'

export interface ConnectionsOptions {
  readonly limits: Pick<PeerLimits, 'spend'>
  /** The known peer that told this certificate, if it is not banned; the address is that of its socket. */
  readonly identify: (fingerprint: string, address: string | undefined) => PeerId | undefined
  readonly log: Logger
}

/** A connection whose peer has shown its certificate. */
export interface Connection {
  readonly socket: TLSSocket
  readonly fingerprint: string
  /** Requests that are not answered to the end. */
  requests: number
}

/** Connections to the transfer server: within their TLS handshake, and of peers that have shown their certificate. */
export class Connections {
  readonly #options: ConnectionsOptions
  readonly #connections = new Map<object, Connection>()
  /** All TCP connections, those within their TLS handshake too, which `closeAllConnections` does not know. */
  readonly #sockets = new Set<Socket>()
  readonly #arrivals = new Arrivals(ARRIVALS, ARRIVALS_PER_SECOND)
  readonly #handshakes = new Places({ limit: MAX_HANDSHAKES, patienceMs: HANDSHAKE_PATIENCE_MS, gives: 'first' })
  readonly #standing = new Places({ limit: MAX_CONNECTIONS, gives: 'first' })
  /** Places of handshakes, by address and port: Node does not say to which TCP connection a TLS socket belongs. */
  readonly #shaking = new Map<string, Place>()

  constructor(options: ConnectionsOptions) {
    this.#options = options
  }

  /** Strangers must not take all connections: those who have not shown a certificate yet have places of their own. */
  accept(socket: Socket): void {
    const { remoteAddress: address = '' } = socket
    const mayCome = this.#arrivals.come(address)
    const place = mayCome ? this.#handshakes.take(originOf(address), () => socket.destroy()) : undefined
    if (place === undefined) {
      socket.destroy()
      return
    }
    const name = nameOf(socket)
    this.#shaking.set(name, place)
    this.#sockets.add(socket)
    socket.once('close', () => {
      this.#sockets.delete(socket)
      place.leave()
      if (this.#shaking.get(name) === place) this.#shaking.delete(name)
    })
  }

  /** The TLS handshake has ended. Keeps the connection of a known peer, as far as there is a place for it. */
  authenticate(socket: TLSSocket): void {
    this.#shaking.get(nameOf(socket))?.leave()
    const { remoteAddress: address } = socket
    const certificate = socket.getPeerX509Certificate()
    const fingerprint = certificate === undefined ? undefined : fingerprintOf(certificate.raw)
    const peer = fingerprint === undefined ? undefined : this.#options.identify(fingerprint, address)
    if (fingerprint === undefined || peer === undefined) {
      this.#options.log.debug({ address }, 'a stranger came to the transfer server')
      this.#arrivals.charge(address ?? '', STRANGER)
      socket.destroy()
      return
    }
    const { limits } = this.#options
    const hasAllowance = limits.spend(peer, TRANSFER_CONNECTION_COST, 'connections')
    if (!hasAllowance) limits.spend(peer, REFUSED_CONNECTION_COST, 'connections')
    const mayHave = hasAllowance && this.#standing.countOf(fingerprint, 0) < MAX_CONNECTIONS_OF_PEER
    const place = mayHave ? this.#standing.take([fingerprint], () => socket.destroy()) : undefined
    if (place === undefined) {
      socket.destroy()
      return
    }
    this.#connections.set(socket, { socket, fingerprint, requests: 0 })
    socket.once('close', () => {
      place.leave()
      this.#connections.delete(socket)
    })
  }

  of(socket: Socket): Connection | undefined {
    return this.#connections.get(socket)
  }

  /** Who is at the other end, as far as it is admitted now. */
  peerOf(socket: Socket): { readonly peer: PeerId; readonly fingerprint: string } | undefined {
    const fingerprint = this.#connections.get(socket)?.fingerprint
    if (fingerprint === undefined) return undefined
    const peer = this.#options.identify(fingerprint, socket.remoteAddress)
    return peer === undefined ? undefined : { peer, fingerprint }
  }

  /** Ends the connections of a peer. */
  cut(fingerprint: string): void {
    for (const { socket, fingerprint: shown } of this.#connections.values()) if (shown === fingerprint) socket.destroy()
  }

  cutAll(): void {
    for (const socket of this.#sockets) socket.destroy()
  }
}

/** The other end of a connection. */
function nameOf({ remoteAddress, remotePort }: Socket): string {
  return `${remoteAddress} ${remotePort}`
}
