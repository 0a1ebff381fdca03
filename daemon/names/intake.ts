import { Allowances } from '../swarm/limits/allowance.ts'
import type { PeerId, SignedName } from '../swarm/ports.ts'
import { usualBounds } from './table.ts'

/** Records of one publisher that are taken at once: all that are kept of it. */
const burst = 2 * usualBounds.ofPublisher

/** And each second besides. What comes beyond is taken when peers tell it again. */
const perSecond = 2

/** Records that one peer may pass on at once, of whomever: all that are kept. To make up publishers gains nothing. */
const relayed = usualBounds.inAll

/** And each second besides: ten publishers that push all the time. */
const relayedPerSecond = 20

/** Publishers, and peers, of which that is remembered. */
const remembered = 8_192

/** How many records are taken: of a publisher, and of others from the peer that passes them on. */
export class Intake {
  readonly #publishers = new Allowances({ most: burst, perSecond, remembered })
  readonly #relays = new Allowances({ most: relayed, perSecond: relayedPerSecond, remembered })

  /** Whether one more may be taken. */
  admits(peer: PeerId, { publisher }: SignedName): boolean {
    return this.#publishers.of(publisher).left >= 1 && (peer === publisher || this.#relays.of(peer).left >= 1)
  }

  /** One is taken. Not before its signature is checked: nobody can use up what somebody else has. */
  take(peer: PeerId, { publisher }: SignedName): void {
    this.#publishers.of(publisher).spend(1)
    if (peer !== publisher) this.#relays.of(peer).spend(1)
  }
}
