import { NUMBERS, type Numbers } from '../../daemon/share/plan/numbers.ts'

/** What is simulated. Times are in ms, rates in Mbit/s, blobs in chunks of 1 MiB. */
export interface Scenario {
  readonly seed: number
  readonly nodes: number
  readonly blobs: readonly number[]
  /** Of a node, each way. */
  readonly rate: number
  /** Of the downlinks, if another. */
  readonly downRate: number | undefined
  readonly upstreamRate: number
  /** The nodes are at this many sites, the same number at each; what they send between sites goes through one line of each site. */
  readonly sites: number
  /** Of that line, each way. */
  readonly betweenRate: number
  /** The site at which upstream is, the first one being 0; undefined where each site has a way of its own to it. */
  readonly upstreamSite: number | undefined
  /** Whether nodes know their sites. */
  readonly areSitesKnown: boolean
  /** Until the first byte of an answer from upstream. */
  readonly upstreamDelay: number
  /** Between two nodes, one way. */
  readonly latency: number
  /** Control messages wait up to this long where their sender's uplink is busy. */
  readonly queue: number
  /** A sender's time for each question that it answers with bytes. */
  readonly request: number
  /** Verification, for each MiB. */
  readonly verify: number
  /** Checkpoints are told this often; a part counts when its checkpoint is known. */
  readonly lists: number
  /** Nodes begin at random within this time. */
  readonly spread: number
  /** Nodes with another rate; they are the first to ask where `isFirst` is set. */
  readonly slow: { readonly nodes: number; readonly rate: number; readonly isFirst: boolean }
  /** The part of the nodes that leaves at random times, for good. */
  readonly leave: number
  /** Whether whoever leaves, or is killed, does so without its connections being reset. */
  readonly isSilent: boolean
  /** Whoever reads upstream leaves when this part of the content was brought; undefined for never. */
  readonly killHolder: number | undefined
  /** Peers that say they have everything, take questions and send nothing. */
  readonly stallers: number
  /** Peers that join the queue before all others, and do nothing. */
  readonly falseHeads: number
  /** Peers that take part, and never say anything to other nodes. */
  readonly silentPeers: number
  /** Nodes that have everything at the start. */
  readonly holders: number
  /** Whether those have announced it before, and the coordinator knows of them by its records only. */
  readonly isRecorded: boolean
  /** Nodes know of the blobs for this long before they want them, in ms. */
  readonly ahead: number
  /** Whether nodes learn the size of a blob from upstream, or from each other. */
  readonly isUnsized: boolean
  /** Whether the coordinator says to all that somebody else reads upstream. */
  readonly isLyingCoordinator: boolean
  /** Whether the swarm is open, so that words count for little. */
  readonly isOpen: boolean
  readonly numbers: Numbers
  /** Rates are exact up to this many nodes. */
  readonly exactNodes: number
  /** Ms after which the simulation is given up. */
  readonly end: number
}

export const plainScenario: Scenario = {
  seed: 1,
  nodes: 16,
  blobs: [160, 72, 24],
  rate: 100,
  downRate: undefined,
  upstreamRate: 100,
  sites: 1,
  betweenRate: 10,
  upstreamSite: undefined,
  areSitesKnown: true,
  upstreamDelay: 20,
  latency: 0.5,
  queue: 0,
  request: 1,
  verify: 2,
  lists: 50,
  spread: 20,
  slow: { nodes: 0, rate: 5, isFirst: false },
  leave: 0,
  isSilent: false,
  killHolder: undefined,
  stallers: 0,
  falseHeads: 0,
  silentPeers: 0,
  holders: 0,
  isRecorded: false,
  ahead: 0,
  isUnsized: false,
  isLyingCoordinator: false,
  isOpen: false,
  numbers: NUMBERS,
  exactNodes: 24,
  end: 3_600_000,
}

export const CHUNK_BYTES = 1024 * 1024

/** Bytes a ms. */
export function bytesPerMs(rate: number): number {
  return (rate * 1_000_000) / 8 / 1000
}

/** Of all blobs. */
export function chunksOf({ blobs }: Scenario): number {
  return blobs.reduce((sum, chunks) => sum + chunks, 0)
}

/**
 * The time in ms in which nobody could do better: the longest of what upstream takes to send each byte once, what a downlink takes,
 * and what all uplinks take. Slow nodes are left out: the limit is that of the others. With several sites it is what the content takes
 * into one of them, as one node reads upstream at a time.
 */
export function limitOf(scenario: Scenario): number {
  const { nodes, slow, holders, rate, downRate, upstreamRate } = scenario
  const size = chunksOf(scenario) * CHUNK_BYTES
  const fast = nodes - slow.nodes
  const up = bytesPerMs(rate)
  const source = bytesPerMs(upstreamRate) + holders * up
  const between = scenario.sites > 1 ? size / bytesPerMs(scenario.betweenRate) : 0
  return Math.max(between, size / source, size / bytesPerMs(downRate ?? rate), (fast * size) / (source + fast * up))
}
