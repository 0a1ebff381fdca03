import { BlockList, isIP } from 'node:net'
import type { Address } from '@libp2p/interface'
import { type InterfaceAddress, interfaceAddresses, networksOf } from './interfaces.ts'

/** How long a look at the interfaces counts: peers are dialled many at a time. */
const LOOK_MS = 1000

/**
 * The order in which a peer's addresses are dialled, one after the other: those in a network that this machine is in as well, the
 * others in a new order each time, and last those that are this machine's own. A peer tells all that it has, and one that leads
 * nowhere takes most of an attempt. In a fixed order (libp2p's begins with public addresses) the right one might never have its
 * turn.
 */
export class DialOrder {
  readonly #look: () => readonly InterfaceAddress[]
  /** libp2p makes the objects anew for each dial, and compares two at a time. */
  readonly #places = new WeakMap<Address, { readonly rank: number; readonly random: number }>()
  #networks = new BlockList()
  #own: ReadonlySet<string> = new Set()
  #lookedAt = Number.NEGATIVE_INFINITY

  constructor(look: () => readonly InterfaceAddress[] = interfaceAddresses) {
    this.#look = look
  }

  /** For sorting: below 0 where `a` comes first. */
  readonly compare = (a: Address, b: Address): -1 | 0 | 1 => {
    const [first, second] = [this.#placeOf(a), this.#placeOf(b)]
    return Math.sign(first.rank - second.rank || first.random - second.random) as -1 | 0 | 1
  }

  #placeOf(address: Address): { readonly rank: number; readonly random: number } {
    const known = this.#places.get(address)
    if (known !== undefined) return known
    const place = { rank: this.#rankOf(hostOf(address)), random: Math.random() }
    this.#places.set(address, place)
    return place
  }

  #rankOf(host: string): number {
    if (performance.now() - this.#lookedAt > LOOK_MS) {
      const interfaces = this.#look()
      this.#networks = networksOf(interfaces.filter(({ internal }) => !internal))
      this.#own = new Set(interfaces.map(({ address }) => address))
      this.#lookedAt = performance.now()
    }
    if (this.#own.has(host)) return 2
    const family = isIP(host)
    return family !== 0 && this.#networks.check(host, family === 6 ? 'ipv6' : 'ipv4') ? 0 : 1
  }
}

function hostOf({ multiaddr }: Address): string {
  return String(multiaddr.getComponents()[0]?.value ?? '')
}
