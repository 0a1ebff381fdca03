import { Heap } from './heap.ts'

/** One direction of a machine's connection to the network. */
export class Link {
  /** Bytes a ms. */
  readonly capacity: number
  readonly flows = new Set<Flow>()
  /** Bytes of flows that are over. */
  moved = 0
  /** While rates are computed: what is left, and among flows of which weights. */
  left = 0
  open = 0

  constructor(capacity: number) {
    this.capacity = capacity
  }
}

/** Bytes on their way, piece by piece. */
export class Flow {
  readonly from: Link
  readonly to: Link
  /** Called when a piece is complete; gives the bytes of the next one, or undefined at the end. */
  readonly onPiece: () => number | undefined
  /** Its part of a link is so many times that of a flow with 1. */
  readonly weight: number
  /** Bytes left of the piece at the time `since`. */
  left: number
  since: number
  rate = 0
  isFixed = false
  isOver = false
  /** Bytes of all that came, up to `since`. */
  moved = 0

  constructor(from: Link, to: Link, bytes: number, onPiece: () => number | undefined, now: number, weight: number) {
    this.from = from
    this.to = to
    this.left = bytes
    this.onPiece = onPiece
    this.weight = weight
    this.since = now
  }

  settle(now: number): void {
    const bytes = Math.min(this.left, this.rate * (now - this.since))
    this.left -= bytes
    this.moved += bytes
    this.since = now
  }
}

/**
 * A fluid network: every flow has its max-min fair share of its sender's uplink and its receiver's downlink, and the core
 * has room for everything. Rates are exact for few flows; for many they are computed anew every few ms only, so that what a
 * flow leaves is taken up by others that much later.
 *
 * Neglected: slow start and loss, unequal shares of connections with unequal round trips, headers, acknowledgements, and
 * what verifying and writing cost.
 */
export class Network {
  readonly #flows = new Set<Flow>()
  readonly #due = new Heap<Flow>()
  readonly #shares = new Heap<Link>()
  readonly #quantum: number
  #isDirty = false
  #computedAt = Number.NEGATIVE_INFINITY

  /** @param quantum ms between two computations of all rates, 0 for exact ones */
  constructor(quantum: number) {
    this.#quantum = quantum
  }

  /** When `step` is to be called. */
  nextAt(now: number): number {
    if (this.#flows.size === 0) return Number.POSITIVE_INFINITY
    const next =
      this.#quantum === 0 ? (this.#isDirty ? now : Number.POSITIVE_INFINITY) : this.#computedAt + this.#quantum
    return Math.max(now, Math.min(next, this.#due.least))
  }

  start(from: Link, to: Link, bytes: number, now: number, onPiece: () => number | undefined, weight = 1): Flow {
    const flow = new Flow(from, to, bytes, onPiece, now, weight)
    this.#flows.add(flow)
    from.flows.add(flow)
    to.flows.add(flow)
    this.#isDirty = true
    return flow
  }

  stop(flow: Flow, now: number): void {
    if (flow.isOver) return
    flow.settle(now)
    flow.isOver = true
    flow.from.moved += flow.moved
    flow.to.moved += flow.moved
    this.#flows.delete(flow)
    flow.from.flows.delete(flow)
    flow.to.flows.delete(flow)
    this.#isDirty = true
  }

  step(now: number): void {
    if (this.#due.least <= now) this.#complete(now)
    else this.#compute(now)
  }

  #complete(now: number): void {
    const flow = this.#due.pop()
    if (flow === undefined || flow.isOver) return
    flow.settle(now)
    flow.moved += flow.left
    flow.left = 0
    const next = flow.onPiece()
    if (flow.isOver) return
    if (next === undefined) this.stop(flow, now)
    else {
      flow.left = next
      this.#foresee(flow, now)
    }
  }

  #compute(now: number): void {
    this.#computedAt = now
    for (const flow of this.#flows) flow.settle(now)
    if (this.#isDirty) this.#share()
    this.#isDirty = false
    this.#due.clear()
    for (const flow of this.#flows) this.#foresee(flow, now)
  }

  #foresee(flow: Flow, now: number): void {
    if (flow.rate === 0) return
    const at = now + flow.left / flow.rate
    if (this.#quantum === 0 || at <= this.#computedAt + this.#quantum) this.#due.push(at, flow)
  }

  /** Max-min fairness: the link with the least for each of its flows decides their rates, and so on with what is left. */
  #share(): void {
    const shares = this.#shares
    const links = new Set<Link>()
    for (const flow of this.#flows) {
      flow.isFixed = false
      for (const link of [flow.from, flow.to]) {
        if (!links.has(link)) link.open = 0
        link.open += flow.weight
        links.add(link)
      }
    }
    for (const link of links) {
      link.left = link.capacity
      shares.push(link.left / link.open, link)
    }
    while (shares.size > 0) {
      const least = shares.least
      const link = shares.pop()
      if (link === undefined || link.open <= 0) continue
      const share = Math.max(0, link.left) / link.open
      // Shares only grow while flows are fixed, so an old number is too small at worst.
      if (share > least) shares.push(share, link)
      else this.#fix(link, share)
    }
  }

  #fix(link: Link, share: number): void {
    for (const flow of link.flows) {
      if (flow.isFixed) continue
      flow.isFixed = true
      flow.rate = share * flow.weight
      for (const end of [flow.from, flow.to]) {
        end.left -= flow.rate
        end.open -= flow.weight
      }
    }
  }
}
