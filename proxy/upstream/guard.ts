import { lookup as systemLookup } from 'node:dns'
import { isIP, type LookupFunction } from 'node:net'
import type { buildConnector, Dispatcher } from 'undici'
import { isLocalhost, isNearby, isOfThisMachine, plainAddress } from '../addresses.ts'
import { isPublicAddress, isPublicName } from '../public-hosts.ts'
import { WayError } from './errors.ts'

const why = 'and it is asked only because upstream.anyRegistry is on'

/**
 * Refuses to connect to addresses that are not public. As it decides on the address that is connected to, a name that
 * resolves to another one the second time (DNS rebinding) gains nothing.
 * @param lookup what resolves names
 */
export function publicLookup(lookup: LookupFunction = systemLookup as LookupFunction): LookupFunction {
  return (hostname, options, callback) => {
    lookup(hostname, { ...options, all: true }, (error, found) => {
      const addresses = Array.isArray(found) ? found : []
      const [first, ...others] = addresses.filter(({ address }) => isPublicAddress(address))
      if (error !== null) callback(error, [])
      else if (first === undefined) {
        const message = `${hostname} has no public address (${addresses.map(({ address }) => address).join(', ')}), ${why}`
        callback(new WayError(message, { mayPass: false }), [])
      } else if (options.all === true) callback(null, [first, ...others])
      else callback(null, first.address, first.family)
    })
  }
}

/** Refuses hosts that are neither registered names nor public addresses; no name is looked up for an address. */
export const publicHostsOnly: Dispatcher.DispatcherComposeInterceptor = (dispatch) => (options, handler) => {
  const { hostname, protocol } = new URL(String(options.origin))
  const host = hostname.replace(/^\[|\]$/g, '').replace(/\.$/, '')
  const isPublic = isIP(host) === 0 ? isPublicName(host) : isPublicAddress(host)
  if (isPublic && protocol === 'https:') return dispatch(options, handler)
  const message = isPublic ? `it is asked by https only, ${why}` : `${host} is no public host, ${why}`
  // As undici does it where a request can't even begin: there is no controller then.
  handler.onResponseError?.(null as unknown as Dispatcher.DispatchController, new WayError(message, { mayPass: false }))
  return true
}

/** Ports at which this node listens itself. Whatever a registry says, the node asks no server of its own: they trust loopback. */
export class OwnPorts {
  readonly #ports = new Set<number>()

  add(port: number): void {
    this.#ports.add(port)
  }

  /** @param address as {@link plainAddress} gives it */
  has(address: string, port: number): boolean {
    return this.#ports.has(port) && isOfThisMachine(address)
  }
}

/** Where requests that one registry has led to may go. */
export class Bounds {
  readonly #origin: URL
  readonly #trusted: readonly string[]
  readonly #ownPorts: OwnPorts
  /** Whether all connections to the registry itself have ended nearby; undefined before the first. */
  #isNearby: boolean | undefined

  /** @param trusted URLs that the configuration has for this registry beside its own */
  constructor(origin: URL, trusted: readonly string[], ownPorts: OwnPorts) {
    this.#origin = origin
    this.#trusted = trusted.map((url) => new URL(url).origin)
    this.#ownPorts = ownPorts
  }

  /** Checks a URL before anything is done for it. @throws {WayError} */
  check(url: URL): void {
    const host = url.hostname.replace(/\.$/, '')
    const address = plainAddress(isLocalhost(host) ? '127.0.0.1' : host)
    const port = Number(url.port) || (url.protocol === 'https:' ? 443 : 80)
    if (address !== undefined) this.#refuse(address, port, url)
  }

  /**
   * Connects, and gives a connection up that has ended where none may. What a name leads to shows here, so that one that resolves
   * to another address the second time (DNS rebinding) gains nothing; nothing has been asked yet.
   */
  guarded(connect: buildConnector.connector): buildConnector.connector {
    return (options, callback) =>
      connect(options, (...[error, socket]) => {
        if (error !== null) return callback(error, null)
        try {
          const address = plainAddress(socket.remoteAddress)
          const url = new URL(`${options.protocol}//${options.host ?? options.hostname}`)
          if (address !== undefined) {
            this.#refuse(address, socket.remotePort ?? 0, url)
            // One that was elsewhere once has said things from there, so it stays a registry that is not here.
            if (url.origin === this.#origin.origin) this.#isNearby = this.#isNearby !== false && isNearby(address)
          }
          callback(null, socket)
        } catch (reason) {
          socket.destroy()
          callback(reason as Error, null)
        }
      })
  }

  #refuse(address: string, port: number, url: URL): void {
    const refusal = (why: string) => new WayError(`${url.host} ${why}`, { mayPass: false })
    if (this.#ownPorts.has(address, port)) throw refusal('is a server of this node itself')
    if (!isNearby(address) || url.origin === this.#origin.origin || this.#trusted.includes(url.origin)) return
    const { hostname } = this.#origin
    const own = plainAddress(hostname)
    // A registry on this machine may have its storage here, too, also where it is called by the machine's name.
    if (isLocalhost(hostname) || (own !== undefined && isNearby(own)) || this.#isNearby === true) return
    throw refusal(`is on this machine or on its own link (${address}), and the registry is not`)
  }
}
