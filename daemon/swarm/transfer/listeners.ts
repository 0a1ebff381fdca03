import { once } from 'node:events'
import { type AddressInfo, createServer, type Server } from 'node:net'
import type { ListenAddress } from '../../../config/schema.ts'
import { bindings, cannotListen, isWithoutFamily } from '../listening.ts'

/**
 * Listens at several addresses for one HTTPS server. Such a server has one socket of its own: what comes by the others is handed
 * to it.
 */
export class Listeners {
  readonly #server: Server
  readonly #all: Server[] = []

  constructor(server: Server) {
    this.#server = server
  }

  /**
   * Listens at all of them, and gives the port. Port 0 takes a free one, the same for all.
   * @throws {Error} that names the option, where an address can't be used; none is listened at then
   */
  async start(addresses: readonly ListenAddress[]): Promise<number> {
    let taken = 0
    for (const address of bindings(addresses)) {
      const server = this.#all.length === 0 ? this.#server : this.#another()
      const { host, port } = address
      try {
        server.listen({ host, port: port || taken, exclusive: true, ipv6Only: true })
        await once(server, 'listening')
        this.#all.push(server)
      } catch (error) {
        if (taken !== 0 && isWithoutFamily(address, error as Error)) continue
        await this.stop()
        throw cannotListen('swarm.transferListen', address, error as Error)
      }
      taken = (server.address() as AddressInfo).port
    }
    return taken
  }

  /** Takes no more connections; those that stand are to be ended by the caller. Resolves when they have ended. */
  async stop(): Promise<void> {
    const closed = this.#all.map((server) => once(server, 'close'))
    for (const server of this.#all) server.close()
    this.#all.length = 0
    await Promise.all(closed)
  }

  #another(): Server {
    const server = createServer({ noDelay: true }, (socket) => this.#server.emit('connection', socket))
    // Also where a connection can't be accepted; the first server logs the same.
    return server.on('error', (error) => this.#all.includes(server) && this.#server.emit('error', error))
  }
}
