import type { PeerId } from '../peer-id.ts'
import { Allowances } from './allowance.ts'
import { Turns } from './turns.ts'

/**
 * What a peer may make this node do at once, in ms of its time. A node that tells of 10,000 blobs spends 420,
 * and one that pulls 40 layers at once 160.
 */
export const BURST_MS = 1_500

/** And each second besides: a twentieth of a core. */
export const SUSTAINED_MS = 50

/** Ban a peer that has spent this much more than it had. Below, it is read from more slowly; see {@link PeerLimits.pauseMs}. */
export const FAR_MS = 1_000

/**
 * Longest pause in reading from a peer, in ms. Within it a peer gets back what honest nodes send before they wait for an answer. One
 * that sends without end falls further behind with each piece, and is banned.
 */
const LONGEST_PAUSE_MS = 500

/** Peers whose allowances are remembered. */
const MAX_REMEMBERED = 8_192

interface PeerLimitsOptions {
  /** A peer has exceeded its allowance far. May be called again for the same peer. */
  readonly onFlood: (peer: PeerId, reason: string) => void
  /** Whether anybody may be in the swarm. The members of a closed one may all have much to say after a power cut, and don't take turns. */
  readonly isOpen: boolean
  readonly now?: (() => number) | undefined
}

/** How much of this node's time each peer may take, by whichever protocol, and how much all of them together. */
export class PeerLimits {
  readonly #onFlood: (peer: PeerId, reason: string) => void
  readonly #allowances: Allowances
  /** Undefined in a closed swarm. */
  readonly #turns: Turns | undefined

  constructor({ onFlood, isOpen, now }: PeerLimitsOptions) {
    this.#onFlood = onFlood
    this.#allowances = new Allowances({ most: BURST_MS, perSecond: SUSTAINED_MS, remembered: MAX_REMEMBERED, now })
    this.#turns = isOpen ? new Turns({ remembered: MAX_REMEMBERED, now }) : undefined
  }

  /** Useful work was done with a peer. */
  earn(peer: PeerId, ms: number): void {
    this.#allowances.of(peer).earn(ms)
    this.#turns?.earn(peer, ms)
  }

  /**
   * A peer asks for something.
   * @param ms of this node's time that it costs
   * @param what it is, for the log: "it sends too many …"
   * @returns whether it had that much left
   */
  spend(peer: PeerId, ms: number, what: string): boolean {
    const allowance = this.#allowances.of(peer)
    const before = allowance.left
    const mayGoOn = allowance.spend(ms)
    this.#turns?.spend(peer, ms)
    // Once for each time that it goes over the edge: what comes until its connections have ended says nothing new.
    if (before >= -FAR_MS && allowance.left < -FAR_MS) this.#onFlood(peer, `it sends too many ${what}`)
    return mayGoOn
  }

  /** For how long nothing should be read from a peer, in ms: until it has something left again, within a bound. */
  pauseMs(peer: PeerId): number {
    const { left } = this.#allowances.of(peer)
    return left >= 0 ? 0 : Math.min(LONGEST_PAUSE_MS, Math.ceil((-left / SUSTAINED_MS) * 1000))
  }

  /** Whether a peer that has something left waits for its turn all the same, as others take much of this node's time, too. */
  mustWait(peer: PeerId): boolean {
    return this.#turns?.mustWait(peer) === true
  }

  /** @param go called once, when it is the peer's turn to be read from */
  wait(peer: PeerId, go: () => void): void {
    if (this.#turns === undefined) go()
    else this.#turns.wait(() => this.#allowances.of(peer).left, go)
  }
}
