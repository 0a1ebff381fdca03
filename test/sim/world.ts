import { ClaimBook } from '../../daemon/swarm/claim/book.ts'
import type { Fetch } from './fetch.ts'
import { Heap } from './heap.ts'
import type { Machine } from './machine.ts'
import { Link, Network } from './network.ts'
import { seededRandom } from './random.ts'
import { bytesPerMs, type Scenario } from './scenario.ts'

/** Few nodes have their rates computed exactly. */
const EXACT_NODES = 40
const QUANTUM_MS = 3

/** What is counted over all nodes. */
export interface Counters {
  upstreamBytes: number
  /** Bytes of chunks that were held already, or of requests that were given up. */
  duplicateBytes: number
  /** Chunks that were wrong. */
  wrongChunks: number
  requests: number
  busy: number
  /** Messages that tell of chunks, and the chunks that they tell of. */
  haves: number
  claims: number
  plans: number
  liarChunks: Map<string, number>
}

/** Time, network, coordinator and upstream of one simulation. */
export class World {
  readonly scenario: Scenario
  readonly random: () => number
  readonly network: Network
  readonly upstream: Link
  readonly book: ClaimBook
  readonly counters: Counters = {
    upstreamBytes: 0,
    duplicateBytes: 0,
    wrongChunks: 0,
    requests: 0,
    busy: 0,
    haves: 0,
    claims: 0,
    plans: 0,
    liarChunks: new Map(),
  }
  readonly machines = new Map<string, Machine>()
  /** Called for each chunk that came from upstream. */
  onUpstreamChunk: (fetch: Fetch) => void = () => {}
  now = 0
  readonly #events = new Heap<() => void>()

  constructor(scenario: Scenario) {
    this.scenario = scenario
    this.random = seededRandom(scenario.seed)
    this.network = new Network(scenario.nodes <= EXACT_NODES ? 0 : QUANTUM_MS)
    this.upstream = new Link(bytesPerMs(scenario.upstream))
    this.book = new ClaimBook(this.random)
  }

  /** One way, in ms. */
  get latency(): number {
    return this.scenario.roundTrip / 2
  }

  find(id: string, layer: number): Fetch | undefined {
    return this.machines.get(id)?.fetches[layer]
  }

  after(ms: number, event: () => void): void {
    this.#events.push(this.now + ms, event)
  }

  /** Runs until `isOver`, or until nothing is left to happen. */
  run(isOver: () => boolean): void {
    while (!isOver() && this.now <= this.scenario.limit) {
      const networkAt = this.network.nextAt(this.now)
      const eventAt = this.#events.least
      if (Math.min(networkAt, eventAt) === Number.POSITIVE_INFINITY) return
      this.now = Math.max(this.now, Math.min(networkAt, eventAt))
      if (eventAt <= networkAt) this.#events.pop()?.()
      else this.network.step(this.now)
    }
  }
}
