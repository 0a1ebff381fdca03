import { Allowances } from './allowance.ts'
import { originOf } from './network.ts'

/** Networks that are remembered, and addresses. */
const MAX_REMEMBERED = 4_096

/** Connections that an address may make at once while it counts as one that makes few. */
const FEW = 16

/** And each second. */
const FEW_PER_SECOND = 0.5

/**
 * Part of what a network has that is for addresses which make few connections. All machines of a LAN are in one network of IPv6, and one
 * of them alone must not take all of it. A machine that takes ever new addresses still can, but no more than that.
 */
const SHARE_OF_FEW = 0.5

/** How often connections may come from one network, whoever they are from: a handshake costs some ms before anybody is known. */
export class Arrivals {
  readonly #most: number
  readonly #networks: Allowances
  /** Used up by an address that makes many. */
  readonly #addresses: Allowances

  /** @param most connections at once: hundreds of nodes behind one address may start together @param now in ms, for tests */
  constructor(most: number, perSecond: number, now?: () => number) {
    this.#most = most
    this.#networks = new Allowances({ most, perSecond, remembered: MAX_REMEMBERED, now })
    this.#addresses = new Allowances({ most: FEW, perSecond: FEW_PER_SECOND, remembered: MAX_REMEMBERED, now })
  }

  /** One has come. @param address of its other end @returns whether it may stay */
  come(address: string): boolean {
    const [network, own] = originOf(address)
    const allowance = this.#networks.of(network)
    // Nobody else is in the network of an address that is one by itself.
    const makesFew = network === own || this.#addresses.of(own).left >= 1
    // What is refused is not counted: a network that goes on trying gets its share.
    if (allowance.left < 1 + (makesFew ? 0 : this.#most * SHARE_OF_FEW)) return false
    this.charge(address, 1)
    return true
  }

  /** One was of no use: it counts as this many more. */
  charge(address: string, more: number): void {
    const [network, own] = originOf(address)
    this.#networks.of(network).spend(more)
    if (network !== own) this.#addresses.of(own).spend(more)
  }
}
