import type { Message, PeerId, Turn } from '../../daemon/share/plan/messages.ts'
import type { Coordinator } from './coordinator.ts'
import { Heap } from './heap.ts'
import type { Machine } from './machine.ts'
import { Line, Network } from './network.ts'
import { seededRandom } from './random.ts'
import { bytesPerMs, type Scenario } from './scenario.ts'

/** Rates of many nodes are computed anew in the time that a line of 100 Mbit/s takes for 37 kB. */
const QUANTUM_MS = 3
const QUANTUM_RATE = 100

/** Whoever gets messages. */
export interface Peer {
  readonly hear: (from: PeerId, message: Message) => void
  readonly turns: (turns: readonly Turn[]) => void
}

/** What is counted over all nodes. */
export interface Counters {
  news: number
  asks: number
  /** Answers without bytes: no place, nothing of use. */
  busy: number
  none: number
  /** Answers that were given up, by the receiver or the sender. */
  left: number
  wants: number
  turns: number
  /** Bytes of news, questions and answers without bytes, as they might be encoded. */
  controlBytes: number
  upstreamBytes: number
  /** Bytes that were received and were of no use. */
  twiceBytes: number
  /** Bytes that went from one site to another, with those of messages. */
  betweenBytes: number
}

/** Nodes near each other, and their line to those of other sites. */
export interface Site {
  readonly index: number
  readonly out: Line
  readonly in: Line
}

/** Time, network and upstream of one simulation. */
export class World {
  readonly scenario: Scenario
  readonly random: () => number
  readonly network: Network
  readonly upstream: Line
  readonly machines = new Map<PeerId, Machine>()
  /** The machines, and peers that do nothing useful. */
  readonly peers = new Map<PeerId, Peer>()
  readonly counters: Counters = {
    news: 0,
    asks: 0,
    busy: 0,
    none: 0,
    left: 0,
    wants: 0,
    turns: 0,
    controlBytes: 0,
    upstreamBytes: 0,
    twiceBytes: 0,
    betweenBytes: 0,
  }
  readonly sites: readonly Site[]
  coordinator: Coordinator | undefined
  /** Called for each chunk that came from upstream. */
  onBrought: (machine: Machine) => void = () => {}
  now = 0
  /** When each part's checkpoint is known everywhere, by blob. */
  readonly listedAt = new Map<string, Float64Array>()
  readonly #events = new Heap<() => void>()

  constructor(scenario: Scenario) {
    this.scenario = scenario
    this.random = seededRandom(scenario.seed)
    const isExact = scenario.nodes <= scenario.exactNodes
    this.network = new Network(isExact ? 0 : (QUANTUM_MS * QUANTUM_RATE) / scenario.rate)
    this.upstream = new Line(bytesPerMs(scenario.upstreamRate))
    const { betweenRate } = scenario
    this.sites = Array.from({ length: scenario.sites }, (_, index) => {
      return { index, out: new Line(bytesPerMs(betweenRate)), in: new Line(bytesPerMs(betweenRate)) }
    })
    for (const [index, chunks] of scenario.blobs.entries())
      this.listedAt.set(String(index), new Float64Array(chunks * scenario.numbers.quarters))
  }

  /** The lines between two sites; none within one. */
  between(from: Site | undefined, to: Site | undefined): readonly Line[] {
    return from === undefined || to === undefined || from === to ? [] : [from.out, to.in]
  }

  /** The name of a peer's site; undefined where there is one only, or none is told. */
  siteOf(peer: PeerId): string | undefined {
    const { sites, areSitesKnown } = this.scenario
    const site = sites > 1 && areSitesKnown ? this.machines.get(peer)?.site : undefined
    return site === undefined ? undefined : `site-${site.index}`
  }

  after(ms: number, event: () => void): void {
    this.#events.push(this.now + ms, event)
  }

  /** Runs until `isOver`, or until nothing is left to happen. */
  run(isOver: () => boolean): void {
    while (!isOver() && this.now <= this.scenario.end) {
      const networkAt = this.network.nextAt(this.now)
      const eventAt = this.#events.least
      if (Math.min(networkAt, eventAt) === Number.POSITIVE_INFINITY) return
      this.now = Math.max(this.now, Math.min(networkAt, eventAt))
      if (eventAt <= networkAt) this.#events.pop()?.()
      else this.network.step(this.now)
    }
  }
}
