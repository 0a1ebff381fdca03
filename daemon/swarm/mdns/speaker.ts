import { createSocket, type Socket } from 'node:dgram'
import { once } from 'node:events'
import type { Logger } from 'pino'
import type { InterfaceAddress } from '../discovery/interfaces.ts'
import { FAILING_LOG_MS, GROUPS, MAX_INTERFACES, MDNS_PORT } from './constants.ts'

interface SpeakerOptions {
  readonly family: 4 | 6
  /** @param source the address that it comes from */
  readonly onMessage: (bytes: Buffer, source: string) => void
  readonly log: Logger
}

/** Hops of a packet; RFC 6762, 11. */
const TTL = 255

/**
 * Speaks multicast of one family on every interface. There is one socket: a second one at the same port would be given every
 * packet again. For each packet it is told the interface, as the routing table knows one at most for all multicast, and
 * without a default route often none.
 */
export class Speaker {
  readonly #options: SpeakerOptions
  #socket: Socket | undefined
  #interfaces: readonly InterfaceAddress[] = []
  /** Since when it fails, by what fails and the interface. */
  readonly #failures = new Map<string, { readonly since: number; isLogged: boolean }>()
  /** Why there is no socket, as it was logged. */
  #reason: string | undefined
  #opening: Promise<void> | undefined
  #sending: Promise<void> = Promise.resolve()
  #closed = false

  constructor(options: SpeakerOptions) {
    this.#options = options
  }

  /**
   * Takes part on these interfaces from now on, and no others. The socket is opened with the first one. The group is joined
   * anew each time: an interface that was removed and made again has the same name, but is not in the group any more.
   */
  async use(addresses: readonly InterfaceAddress[]): Promise<void> {
    const { family } = this.#options
    const byName = new Map<string, InterfaceAddress>()
    // One address of an interface is enough.
    for (const address of addresses) {
      if (address.family === family && !byName.has(address.name)) byName.set(address.name, address)
    }
    this.#interfaces = [...byName.values()].slice(0, MAX_INTERFACES)
    for (const name of this.#failures.keys())
      if (!byName.has(name.slice(name.indexOf(' ') + 1))) this.#failures.delete(name)
    if (this.#interfaces.length === 0) return
    this.#opening ??= this.#open().finally(() => {
      this.#opening = undefined
    })
    await this.#opening
    this.#join()
  }

  /** Sends a packet on each interface, after those that are being sent. Failures are logged. */
  send(packetFor: (address: InterfaceAddress) => Uint8Array | undefined): void {
    this.#sending = this.#sending
      .then(async () => {
        for (const address of this.#interfaces) {
          const packet = packetFor(address)
          if (packet === undefined || this.#socket === undefined) continue
          const error = await this.#sendOn(this.#socket, address, packet)
          this.#took('send', address, error)
        }
      })
      .catch((err) => this.#options.log.debug({ err }, 'multicast DNS was not written'))
  }

  async close(): Promise<void> {
    this.#closed = true
    await this.#opening
    this.#interfaces = []
    await this.#sending
    const socket = this.#socket
    this.#socket = undefined
    if (socket === undefined) return
    const closed = once(socket, 'close')
    socket.close()
    await closed
  }

  async #open(): Promise<void> {
    if (this.#socket !== undefined || this.#closed) return
    const { family, onMessage, log } = this.#options
    // Other programs of the machine may speak multicast DNS, too.
    const socket = createSocket({ type: `udp${family}`, reuseAddr: true, ipv6Only: family === 6 })
    socket.on('message', (bytes, { address }) => onMessage(bytes, address))
    try {
      socket.bind({ port: MDNS_PORT, address: family === 6 ? '::' : '0.0.0.0' })
      await once(socket, 'listening')
      socket.setMulticastTTL(TTL)
      // Nodes on the same machine hear each other.
      socket.setMulticastLoopback(true)
    } catch (error) {
      socket.close()
      const { message } = error as Error
      if (message !== this.#reason) {
        log.warn(
          { family: `IPv${family}`, reason: message },
          'multicast DNS can not be spoken: peers are not found by it',
        )
      }
      this.#reason = message
      return
    }
    socket.on('error', (err) => log.debug({ err, family }, 'multicast DNS'))
    this.#socket = socket
    if (this.#reason !== undefined) log.info({ family: `IPv${family}` }, 'multicast DNS can be spoken now')
    this.#reason = undefined
  }

  /** The membership of an interface that is gone ends with it. */
  #join(): void {
    for (const address of this.#interfaces) {
      try {
        this.#socket?.addMembership(GROUPS[address.family], interfaceOf(address))
        this.#took('hear', address, undefined)
      } catch (error) {
        // It is in the group already.
        const isMember = (error as NodeJS.ErrnoException).code === 'EADDRINUSE'
        this.#took('hear', address, isMember ? undefined : (error as Error))
      }
    }
  }

  async #sendOn(socket: Socket, address: InterfaceAddress, packet: Uint8Array): Promise<Error | undefined> {
    const { family } = this.#options
    const { promise, resolve } = Promise.withResolvers<Error | undefined>()
    try {
      socket.setMulticastInterface(interfaceOf(address))
      const group = family === 6 ? `${GROUPS[6]}%${address.name}` : GROUPS[4]
      socket.send(packet, MDNS_PORT, group, (error) => resolve(error ?? undefined))
    } catch (error) {
      resolve(error as Error)
    }
    return await promise
  }

  #took(step: 'hear' | 'send', { name, internal }: InterfaceAddress, err: Error | undefined): void {
    const key = `${step} ${name}`
    if (err === undefined) {
      this.#failures.delete(key)
      return
    }
    const failure = this.#failures.get(key) ?? { since: performance.now(), isLogged: false }
    this.#failures.set(key, failure)
    const { family, log } = this.#options
    const fields = { interface: name, family: `IPv${family}`, reason: err.message }
    // Loopback is of use on a machine without a network only.
    if (failure.isLogged || internal || performance.now() - failure.since < FAILING_LOG_MS) {
      log.debug(fields, `multicast DNS: can not ${step}`)
      return
    }
    failure.isLogged = true
    if (step === 'send')
      log.warn(fields, 'multicast DNS can not be sent on an interface: peers there do not find this node')
    else log.warn(fields, 'multicast DNS can not be heard on an interface: peers there are not found by it')
  }
}

/** An interface as the socket's options name it. */
function interfaceOf({ name, address, family }: InterfaceAddress): string {
  return family === 6 ? `::%${name}` : address
}
