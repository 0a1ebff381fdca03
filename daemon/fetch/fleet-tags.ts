import { setTimeout as delay } from 'node:timers/promises'
import { ANSWER_TIMEOUT_MS } from '../swarm/claim/constants.ts'
import type { Swarm, TagConfirmation } from '../swarm/ports.ts'

interface FleetTagsOptions {
  readonly swarm: Pick<Swarm, 'claim' | 'tags'>
  /** How long the node that asks upstream is waited for, in ms; then this one asks as well. */
  readonly patience: number
  readonly now: () => number
}

/** How long one round of questions to peers may take, in ms. */
const roundLimit = 500

/** Pause between rounds in ms, longer each time. */
const firstPause = 20
const longestPause = 200

/** Peers that are asked in one round: who asks upstream, and some who know. */
const maxAsked = 4

/** One question to upstream about a tag for the whole fleet: whoever is granted the claim asks, the others ask that one. */
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
  async freshFromPeers(reference: string, freshFor: number, signal: AbortSignal): Promise<TagConfirmation | undefined> {
    const { swarm, patience, now } = this.#options
    const key = keyOf(reference)
    const end = performance.now() + patience
    let wish: 'if-nobody' | 'claim' = 'if-nobody'
    for (let pause = firstPause; performance.now() < end; pause = Math.min(pause * 2, longestPause)) {
      // Later questions have more time than a tag has.
      const asking = wish === 'claim' ? AbortSignal.any([signal, AbortSignal.timeout(ANSWER_TIMEOUT_MS)]) : signal
      const answer = await swarm.claim(key, { wish, held: 0 }, asking)
      if (answer === undefined || answer.role !== 'none') return undefined
      const asked = answer.members.slice(0, maxAsked)
      const limited = AbortSignal.any([signal, AbortSignal.timeout(roundLimit)])
      const known = await swarm.tags(reference, limited, asked)
      const [newest] = [...known].sort((a, b) => b.confirmedAt - a.confirmedAt)
      const age = newest === undefined ? Number.NaN : now() - newest.confirmedAt
      if (age >= 0 && age < freshFor) return newest
      // Those who knew it have nothing fresh any more, and nobody asks: this node wants to.
      if (answer.holder === undefined) wish = 'claim'
      else await delay(pause, undefined, { signal })
    }
    return undefined
  }

  /** This node has asked upstream: the claim is free, and others may ask this one where it has got an answer. */
  async asked(reference: string, hasAnswer: boolean): Promise<void> {
    const question = { wish: hasAnswer ? 'done' : 'nothing', held: 1 } as const
    await this.#options.swarm.claim(keyOf(reference), question, AbortSignal.timeout(roundLimit)).catch(() => undefined)
  }
}

/** No digest begins with this. */
function keyOf(reference: string): string {
  return `tag ${reference}`
}
