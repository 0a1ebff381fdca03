import { setTimeout as delay } from 'node:timers/promises'
import { type Digest, digestOf } from '../../proxy/oci/digest.ts'
import type { Sharing } from '../share/sharing.ts'
import type { ToldTag } from '../swarm/ports.ts'
import type { PeerTags } from './peer-tags.ts'

interface FleetTagsOptions {
  readonly peers: Pick<PeerTags, 'newest'>
  readonly sharing: Pick<Sharing, 'turn' | 'turnEnded'>
  /** How long the node that asks upstream is waited for, in ms; then this one asks as well. */
  readonly patience: number
  readonly now: () => number
}

/** How long the coordinator may take, and one round of questions to peers, in ms. */
const turnLimit = 750
const roundLimit = 500

/** Pause between rounds in ms, longer each time. */
const firstPause = 20
const longestPause = 200

/** Peers that are asked in one round: who asks upstream, and some who know. */
const maxAsked = 4

/** One question to upstream about a tag for the whole fleet: whoever is given the turn asks, the others ask that one. */
export class FleetTags {
  readonly #options: FleetTagsOptions

  constructor(options: FleetTagsOptions) {
    this.#options = options
  }

  /**
   * What another node heard from upstream a moment ago, or hears now.
   * @param freshFor how old a confirmation may be, in ms
   * @returns undefined where this node is to ask upstream itself; `asked` is to be called then
   */
  async freshFromPeers(reference: string, freshFor: number, signal: AbortSignal): Promise<ToldTag | undefined> {
    const { peers, sharing, patience, now } = this.#options
    const end = performance.now() + patience
    let wish: 'part' | 'hungry' = 'part'
    for (let pause = firstPause; performance.now() < end; pause = Math.min(pause * 2, longestPause)) {
      const limited = AbortSignal.any([signal, AbortSignal.timeout(turnLimit)])
      const turn = await sharing.turn(keyOf(reference), wish, limited)
      if (turn === undefined || turn.role !== 'none') return undefined
      const asked = turn.members.slice(0, maxAsked)
      const newest = await peers.newest(reference, AbortSignal.any([signal, AbortSignal.timeout(roundLimit)]), asked)
      const age = newest === undefined ? Number.NaN : now() - newest.confirmedAt
      if (age >= 0 && age < freshFor) return newest
      // Those who knew it have nothing fresh any more, and nobody asks: this node wants to.
      if (turn.head === undefined) wish = 'hungry'
      else await delay(pause, undefined, { signal })
    }
    return undefined
  }

  /** This node has asked upstream: the turn is over, and others may ask this one where it has got an answer. */
  asked(reference: string, hasAnswer: boolean): void {
    this.#options.sharing.turnEnded(keyOf(reference), hasAnswer)
  }
}

function keyOf(reference: string): Digest {
  return digestOf(Buffer.from(`tag ${reference}`))
}
