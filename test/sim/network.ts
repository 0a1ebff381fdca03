import { Heap } from './heap.ts'

/** One direction of a machine's connection to the network. */
export class Line {
  /** Bytes a ms. */
  readonly capacity: number
  readonly flows = new Set<Flow>()
  /** Bytes a ms that flows use. */
  used = 0
  /** While rates are computed: among how many flows what is left is shared, and in which computation that was counted. */
  open = 0
  counted = 0

  constructor(capacity: number) {
    this.capacity = capacity
  }

  get free(): number {
    return Math.max(0, this.capacity - this.used)
  }
}

/** Bytes on their way, piece by piece. */
export class Flow {
  readonly lines: readonly Line[]
  /** Called when a piece is complete; gives the bytes of the next one, or undefined at the end. */
  readonly onPiece: () => number | undefined
  /** Bytes left of the piece at the time `since`. */
  left: number
  since: number
  rate = 0
  isFixed = false
  isOver = false

  constructor(lines: readonly Line[], bytes: number, onPiece: () => number | undefined, now: number) {
    this.lines = lines
    this.left = bytes
    this.onPiece = onPiece
    this.since = now
  }

  settle(now: number): void {
    this.left = Math.max(0, this.left - this.rate * (now - this.since))
    this.since = now
  }
}

/**
 * A fluid network: every flow has its max-min fair share of all lines that it goes through, as its sender's uplink and its receiver's
 * downlink, and the core has room for everything. Exact where `quantum` is 0. Otherwise all rates are computed anew each `quantum` ms only: until then a new flow
 * has what is free on its lines, and what a flow leaves is taken up by new ones alone.
 */
export class Network {
  readonly #flows = new Set<Flow>()
  readonly #due = new Heap<Flow>()
  readonly #shares = new Heap<Line>()
  readonly #quantum: number
  #isDirty = false
  #computedAt = Number.NEGATIVE_INFINITY
  #computation = 0

  /** @param quantum ms between two computations of all rates, 0 for exact ones */
  constructor(quantum: number) {
    this.#quantum = quantum
  }

  /** When `step` is to be called. */
  nextAt(now: number): number {
    if (this.#flows.size === 0) return Number.POSITIVE_INFINITY
    const exactAt = this.#isDirty ? now : Number.POSITIVE_INFINITY
    const computeAt = this.#quantum === 0 ? exactAt : this.#computedAt + this.#quantum
    return Math.max(now, Math.min(computeAt, this.#due.least))
  }

  start(lines: readonly Line[], bytes: number, now: number, onPiece: () => number | undefined): Flow {
    const flow = new Flow(lines, bytes, onPiece, now)
    this.#flows.add(flow)
    for (const line of lines) line.flows.add(flow)
    this.#isDirty = true
    if (this.#quantum > 0) {
      this.#use(flow, Math.min(...lines.map(({ free }) => free)))
      this.#foresee(flow, now)
    }
    return flow
  }

  /** @returns bytes that were left of the piece */
  stop(flow: Flow, now: number): number {
    if (flow.isOver) return 0
    flow.settle(now)
    flow.isOver = true
    this.#use(flow, 0)
    this.#flows.delete(flow)
    for (const line of flow.lines) line.flows.delete(flow)
    this.#isDirty = true
    return flow.left
  }

  step(now: number): void {
    if (this.#due.least <= now) this.#complete(now)
    else this.#compute(now)
  }

  #complete(now: number): void {
    const flow = this.#due.pop()
    if (flow === undefined || flow.isOver) return
    flow.left = 0
    flow.since = now
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

  #use(flow: Flow, rate: number): void {
    for (const line of flow.lines) line.used += rate - flow.rate
    flow.rate = rate
  }

  /** Max-min fairness: the line with the least for each of its flows decides their rates, and so on with what is left. */
  #share(): void {
    const shares = this.#shares
    const lines: Line[] = []
    this.#computation++
    for (const flow of this.#flows) {
      flow.isFixed = false
      flow.rate = 0
      for (const line of flow.lines) this.#count(line, lines)
    }
    for (const line of lines) shares.push(line.capacity / line.open, line)
    while (shares.size > 0) {
      const least = shares.least
      const line = shares.pop()
      if (line === undefined || line.open <= 0) continue
      const share = line.free / line.open
      // Shares only grow while flows are fixed, so an old number is too small at worst.
      if (share > least) shares.push(share, line)
      else this.#fix(line, share)
    }
  }

  #count(line: Line, lines: Line[]): void {
    if (line.counted !== this.#computation) {
      line.counted = this.#computation
      line.open = 0
      line.used = 0
      lines.push(line)
    }
    line.open++
  }

  #fix(line: Line, share: number): void {
    for (const flow of line.flows) {
      if (flow.isFixed) continue
      flow.isFixed = true
      this.#use(flow, share)
      for (const one of flow.lines) one.open--
    }
  }
}
