import type { Server } from 'node:http'
import type { Socket } from 'node:net'
import { clientOf, isLoopback, plainAddress } from './addresses.ts'

/** Connections from the network. With one more, the client that has most loses one. One that is idle costs some ten KiB. */
const maxConnections = 4096

/** Connections of one client; more are closed at once. Many nodes may be behind one address, and a node opens some ten for an image. */
const maxConnectionsOfOne = 1024

/**
 * Keeps the connections of a server within bounds. Those of this machine are bounded apart, so no stranger keeps them out.
 * @param isBusy whether a request of a connection is being answered
 */
export function limitConnections(server: Server, isBusy: (socket: Socket) => boolean): void {
  const network = new Connections(maxConnections, isBusy)
  const local = new Connections(maxConnections, isBusy)
  server.on('connection', (socket: Socket) => {
    const address = plainAddress(socket.remoteAddress)
    // Otherwise it is gone already.
    if (address !== undefined) (isLoopback(address) ? local : network).take(clientOf(address), socket)
  })
}

/** Connections by client. */
class Connections {
  readonly #size: number
  readonly #isBusy: (socket: Socket) => boolean
  readonly #clients = new Map<string, Set<Socket>>()
  #count = 0

  constructor(size: number, isBusy: (socket: Socket) => boolean) {
    this.#size = size
    this.#isBusy = isBusy
  }

  take(name: string, socket: Socket): void {
    const own = this.#clients.get(name)?.size ?? 0
    if (own >= maxConnectionsOfOne || (this.#count >= this.#size && !this.#makeRoom(own))) {
      socket.destroy()
      return
    }
    this.#clients.set(name, (this.#clients.get(name) ?? new Set()).add(socket))
    this.#count++
    socket.once('close', () => this.#forget(name, socket))
  }

  /** Closes a connection of the client that has most, if that is more than somebody else has: an idle one, or its oldest. */
  #makeRoom(own: number): boolean {
    const [name, most] = [...this.#clients].reduce((a, b) => (b[1].size > a[1].size ? b : a))
    if (most.size <= own) return false
    const all = [...most]
    const closed = all.find((socket) => !this.#isBusy(socket)) ?? all[0]
    if (closed === undefined) return false
    closed.destroy()
    this.#forget(name, closed)
    return true
  }

  #forget(name: string, socket: Socket): void {
    const own = this.#clients.get(name)
    if (own?.delete(socket) !== true) return
    this.#count--
    if (own.size === 0) this.#clients.delete(name)
  }
}
