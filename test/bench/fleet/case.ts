/** One set-up of the network that contenders are measured on. */
export interface FleetCase {
  nodes: number
  /** Mbit/s of each node's link, in each direction. */
  rate: number
  /** Mbit/s of upstream's link. */
  upstreamRate: number
  /** The last so many nodes have another rate. */
  slow: { count: number; rate: number } | undefined
  /** Mbit/s, in each direction, of the line between two sites that have half of the nodes each; both have a way to upstream. */
  between: number | undefined
  /** Whether the first node has the image, and has announced it, when the others ask for it. */
  hasHolder: boolean
  /** Most that waits in a link's queue, in ms. */
  queue: number
  /** Of all links, in bytes: but slow ones have smaller ones. */
  mtu: number
  /** What hosts use: cubic, as is Linux's default, or bbr. */
  congestion: 'cubic' | 'bbr'
  /** Whether the layerd that has fetched most from upstream is killed at half time. */
  kill: boolean
}

/**
 * Frames are as large as Ethernet allows: with 1500 bytes, packets of 16 nodes at 100 Mbit/s took more than one core of the
 * kernel's time, and the machine was the limit and not the links; with these, a tenth of it. Congestion control is Linux's default,
 * whatever this machine's is: with BBR, whose window never falls below four packets, dozens of connections through one link lose most
 * of what they send, and some of them starve.
 */
export const usualLinks = { queue: 50, mtu: 9_000, congestion: 'cubic' } as const

/** Whether the node, counted from 0, is one of the slow ones. */
export function isSlow({ nodes, slow }: FleetCase, index: number): boolean {
  return slow !== undefined && index >= nodes - slow.count
}

/** The site of a node, counted from 0; there is only one without a line between two. */
export function siteOf({ nodes, between }: FleetCase, index: number): 0 | 1 {
  return between !== undefined && index >= nodes / 2 ? 1 : 0
}

/** `8 nodes at 100 Mbit/s, upstream at 20`. */
export function titleOf(fleetCase: FleetCase): string {
  const { nodes, rate, upstreamRate, slow, between, hasHolder, queue, mtu, congestion, kill } = fleetCase
  const parts = [`${nodes} nodes at ${rate} Mbit/s`]
  if (slow) parts.push(`${slow.count} of them at ${slow.rate}`)
  parts.push(`upstream at ${upstreamRate}`)
  if (between) parts.push(`two sites with ${between} between`)
  if (hasHolder) parts.push('one has it')
  if (queue !== usualLinks.queue) parts.push(`queues of ${queue} ms`)
  if (mtu !== usualLinks.mtu) parts.push(`MTU ${mtu}`)
  if (congestion !== usualLinks.congestion) parts.push(congestion)
  if (kill) parts.push('one killed at half time')
  return parts.join(', ')
}

/** Bytes of content a second that one plain curl moves through a shaped link. */
export interface Rates {
  /** Out of upstream. */
  upstream: number
  /** Into a node, and out of one. */
  down: number
  up: number
  /** Into a slow node. */
  slowDown: number | undefined
  /** From one site to the other. */
  between: number | undefined
}

/**
 * The shortest time, in seconds, in which content can flow to all nodes that are not slow: it must leave upstream once, it
 * must enter each node, and all nodes' copies must be sent by somebody. Of two sites one gets it from the other.
 *
 * @param size bytes of the image
 */
export function fluidLimit(fleetCase: FleetCase, size: number, { upstream, down, up, between }: Rates): number {
  const nodes = fleetCase.nodes - (fleetCase.slow?.count ?? 0)
  if (fleetCase.hasHolder) return Math.max(size / down, ((nodes - 1) * size) / (nodes * up))
  const crossing = between === undefined ? 0 : size / between
  return Math.max(crossing, size / upstream, size / down, (nodes * size) / (upstream + nodes * up))
}

/** What layerd is to reach. */
export interface Goals {
  /** Most that the last node may take, in limits. */
  last: number
  /** Most that upstream may send, in images; nothing is promised where a node is slow. */
  upstream: number | undefined
  /** Most that may cross the line between two sites, in images. */
  between?: number
}

export function goalsOf({ rate, upstreamRate, slow, between, hasHolder, kill }: FleetCase): Goals {
  // Where upstream is what all wait for, peers have time to spare.
  const last = upstreamRate < rate / 2 ? 1.05 : 1.15
  // Who is killed takes with it what nobody has asked it for yet, and its time is lost: only that all finish is promised.
  // Tags and manifests are asked for there.
  if (hasHolder) return { last: 1.15, upstream: 0.001 }
  if (kill) return { last: Number.POSITIVE_INFINITY, upstream: 1.1 }
  if (between) return { last: 1.15, upstream: 1.02, between: 1.05 }
  return { last, upstream: slow ? undefined : 1.02 }
}
