import { Allowances } from '../limits/allowance.ts'
import type { PeerId } from '../ports.ts'
import {
  LOAD_BURST_MS,
  LOAD_MS_PER_SECOND,
  MAX_LOADS,
  PASS_COST,
  PASS_KILOBYTE_COST,
  TAKE_COST,
  TAKE_KILOBYTE_COST,
} from './constants.ts'
import type { Ask } from './message.ts'

const kilobyte = 1024

/**
 * How much of a node's time requests from one peer may take, or requests to one peer. What is above that is answered with `busy`, and
 * nobody is banned: a peer passes on what others say, and can't know beforehand what it costs.
 */
export class Load {
  readonly #allowances: Allowances

  /** @param now in ms, for tests */
  constructor(now?: () => number) {
    this.#allowances = new Allowances({
      most: LOAD_BURST_MS,
      perSecond: LOAD_MS_PER_SECOND,
      remembered: MAX_LOADS,
      now,
    })
  }

  /** @returns whether there is time for it. What is refused costs nothing: a flood ends with its last message. */
  take(peer: PeerId, ms: number): boolean {
    const allowance = this.#allowances.of(peer)
    if (allowance.left < ms) return false
    allowance.spend(ms)
    return true
  }
}

/** What it costs to read a request, and to pass it on; in ms. */
export function passCost(ask: Ask): number {
  return PASS_COST + kilobytesOf(ask) * PASS_KILOBYTE_COST
}

/** What it costs besides to answer a request; in ms. */
export function takeCost(ask: Ask): number {
  return TAKE_COST + kilobytesOf(ask) * TAKE_KILOBYTE_COST
}

function kilobytesOf(ask: Ask): number {
  if (ask.kind === 'announce') return ask.keys.length / kilobyte
  return ask.kind === 'tell' ? ask.payload.length / kilobyte : 0
}
