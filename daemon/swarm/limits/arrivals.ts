import { Allowances } from './allowance.ts'
import { originOf } from './network.ts'

/** Networks that are remembered. */
const MAX_REMEMBERED = 4_096

/** How often connections may come from one network, whoever they are from: a handshake costs some ms before anybody is known. */
export class Arrivals {
  readonly #allowances: Allowances

  /** @param most connections at once: hundreds of nodes behind one address may start together */
  constructor(most: number, perSecond: number) {
    this.#allowances = new Allowances({ most, perSecond, remembered: MAX_REMEMBERED })
  }

  /** One has come. @param address of its other end @returns whether it may stay */
  come(address: string): boolean {
    const allowance = this.#allowances.of(originOf(address)[0])
    // What is refused is not counted: a network that goes on trying gets its share.
    return allowance.left >= 1 && allowance.spend(1)
  }

  /** One was of no use: it counts as this many more. */
  charge(address: string, more: number): void {
    this.#allowances.of(originOf(address)[0]).spend(more)
  }
}
