import type { Bitfield } from '../../verify/bitfield.ts'
import type { PeerId } from '../peer-id.ts'
import { URGENT_REQUESTS, WINDOW_CHUNKS } from './constants.ts'

/** A peer that can be asked for more. */
export interface Offer {
  readonly peer: PeerId
  readonly has: Bitfield
  /** Chunks that it was asked for already. */
  readonly asked: ReadonlySet<number>
  /** Requests that it can take at present. */
  readonly slots: number
  /** Chunks in a row for one request. */
  readonly run: number
  /** Requests under way. */
  readonly load: number
  /** Bytes a second of one request, as far as is known. */
  readonly rate: number
  /** Whether it is asked only for what nobody else has: as many need it, or as it is slow. */
  readonly isLast: boolean
  /** Whether it gives each chunk to one peer first, who has it for the others. */
  readonly isSource: boolean
}

/** What the picker decides by. */
export interface PickState {
  /** Chunks that are held. */
  readonly held: Bitfield
  /** Chunks below this can be verified; others are not asked for. */
  readonly verifiable: number
  /** Whether a request for a chunk is under way that counts on bringing it. */
  readonly isUnderWay: (chunk: number) => boolean
  /** How many peers have a chunk. */
  readonly copies: (chunk: number) => number
  /** Whether a peer has a chunk that is not a last resort, though it may have no slot. */
  readonly isCommon: (chunk: number) => boolean
  /** Chunks that clients wait for, and first of all. */
  readonly urgent: readonly number[]
  /** Orders chunks that are equally rare. */
  readonly rank: (chunk: number) => number
  readonly offers: readonly Offer[]
  /** 0 up to 1. */
  readonly random: () => number
  /** Requests that may be made. */
  readonly requests: number
  /** Chunks that may be asked for. */
  readonly budget: number
}

export interface Pick {
  readonly peer: PeerId
  readonly first: number
  /** Chunks in a row. */
  readonly count: number
}

/**
 * Chooses what to ask whom for: what clients wait for; what one peer only has; and then from peers at random, so that no
 * peer is asked by everybody at the same moment, what is rarest of what they have within a window ahead of what is needed
 * next, and at last beyond the window. A pure function of its state.
 */
export function pick(state: PickState): Pick[] {
  const round = new Round(state)
  for (const chunk of state.urgent) round.takeAtOnce(chunk)
  let from = state.held.firstMissing()
  while (!round.isOver && from < state.verifiable) {
    const to = Math.min(from + WINDOW_CHUNKS, state.verifiable)
    round.takeWithin(from, to)
    from = to
  }
  return round.picks
}

class Round {
  readonly picks: Pick[] = []
  readonly #state: PickState
  readonly #taken = new Set<number>()
  readonly #slots: number[]
  #free: number
  #budget: number

  constructor(state: PickState) {
    this.#state = state
    this.#slots = state.offers.map(({ slots }) => slots)
    this.#free = this.#slots.reduce((sum, slots) => sum + slots, 0)
    this.#budget = state.budget
  }

  get isOver(): boolean {
    return this.#budget <= 0 || this.#free === 0 || this.picks.length >= this.#state.requests
  }

  takeWithin(from: number, to: number): void {
    const { copies, rank, offers, random } = this.#state
    const open: number[] = []
    for (let chunk = from; chunk < to; chunk++) if (copies(chunk) > 0 && this.#isOpen(chunk)) open.push(chunk)
    open.sort((a, b) => copies(a) - copies(b) || rank(a) - rank(b))
    for (const chunk of open)
      if (copies(chunk) === 1 && offers.some(({ isSource, has }) => isSource && has.has(chunk)))
        this.takeFromBest(chunk)
    // Two at random, and the better one of them: close to the best choice, and not everybody's.
    const useful = offers.map((_, at) => at).filter((at) => !offers[at]?.isLast)
    while (!this.isOver && useful.length > 0) {
      const one = Math.floor(random() * useful.length)
      const two = Math.floor(random() * useful.length)
      const place = this.#promise(useful[one] ?? 0) >= this.#promise(useful[two] ?? 0) ? one : two
      const at = useful[place] ?? 0
      const chunk = open.find((candidate) => canGive(offers[at], candidate) && this.#isOpen(candidate))
      if (chunk === undefined || (this.#slots[at] ?? 0) <= 0) useful.splice(place, 1)
      else this.#take(chunk, at)
    }
    for (const chunk of open) this.takeFromBest(chunk)
  }

  /** Asks for a chunk that a client waits for: the best peer that has it or, where none has offered it yet, a source. */
  takeAtOnce(chunk: number): void {
    const { offers, requests } = this.#state
    if (this.#budget <= 0 || this.picks.length >= requests + URGENT_REQUESTS || !this.#isOpen(chunk)) return
    const able = offers.map((_, at) => at).filter((at) => canGive(offers[at], chunk))
    const sources = offers.map((_, at) => at).filter((at) => offers[at]?.isSource && !offers[at].asked.has(chunk))
    const [best] = (able.length > 0 ? able : sources).sort((a, b) => this.#promise(b) - this.#promise(a))
    if (best === undefined) return
    if ((this.#slots[best] ?? 0) > 0) this.#free--
    this.#slots[best] = Math.max(0, (this.#slots[best] ?? 0) - 1)
    this.#taken.add(chunk)
    this.#budget--
    this.picks.push({ peer: offers[best]?.peer ?? '', first: chunk, count: 1 })
  }

  /** Asks the best peer for a chunk and those after it, if there is one. */
  takeFromBest(first: number): void {
    if (this.isOver || !this.#isOpen(first)) return
    const at = this.#bestFor(first)
    if (at !== -1) this.#take(first, at)
  }

  #take(first: number, at: number): void {
    const offer = this.#state.offers[at]
    if (offer === undefined) return
    const longest = Math.min(offer.run, this.#budget)
    let count = 1
    while (count < longest && this.#isOpen(first + count) && canGive(offer, first + count)) count++
    for (let chunk = first; chunk < first + count; chunk++) this.#taken.add(chunk)
    this.#slots[at] = (this.#slots[at] ?? 0) - 1
    this.#free--
    this.#budget -= count
    this.picks.push({ peer: offer.peer, first, count })
  }

  #isOpen(chunk: number): boolean {
    const { verifiable, held, isUnderWay } = this.#state
    return chunk < verifiable && !held.has(chunk) && !this.#taken.has(chunk) && !isUnderWay(chunk)
  }

  /** Bytes a second that one more request to a peer can be expected to have. */
  #promise(at: number): number {
    const offer = this.#state.offers[at]
    return offer === undefined ? 0 : offer.rate / (offer.load + offer.slots - (this.#slots[at] ?? 0) + 1)
  }

  /** The place of the offer that promises a chunk the soonest; -1 where there is none. */
  #bestFor(chunk: number): number {
    const { offers, isCommon } = this.#state
    let best = -1
    let bestRate = 0
    let isBestLast = true
    for (const [at, offer] of offers.entries()) {
      if ((this.#slots[at] ?? 0) <= 0 || !canGive(offer, chunk) || (offer.isLast && !isBestLast)) continue
      const rate = this.#promise(at)
      if (best !== -1 && offer.isLast === isBestLast && rate <= bestRate) continue
      best = at
      bestRate = rate
      isBestLast = offer.isLast
    }
    return best !== -1 && isBestLast && isCommon(chunk) ? -1 : best
  }
}

function canGive(offer: Offer | undefined, chunk: number): boolean {
  return offer?.has.has(chunk) === true && !offer.asked.has(chunk)
}
