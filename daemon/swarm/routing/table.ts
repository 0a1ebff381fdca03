import { distanceOf } from '../find/key-space.ts'
import { originOf } from '../limits/network.ts'
import type { PeerId } from '../ports.ts'
import { LEAST_CONTACTS, MAX_NEAR, NEAR_SHARE, NEW_MS, NEW_ROOM, OWN_SHARE } from './constants.ts'

/**
 * Whom a node stays connected with where the swarm is larger than its connections. Pure: positions and times in, peers out.
 *
 * - *Near* are the peers nearest to this node in the key space. They know each other, so a key's nearest node knows the next ones.
 * - A *bucket* holds the peers that agree with this node in the same number of leading bits. Of each bucket beyond the near peers this
 *   node keeps a few *contacts*, the same number of each. So it always has a contact that is nearer to a key than itself, where there is
 *   any such node, and a message that goes on to a nearer contact each time ends at the nearest node of all (Kademlia, Maymounkov and
 *   Mazières 2002).
 *
 * The number of connections does not depend on the size of the swarm: the larger it is, the more buckets share the same contacts.
 */

export interface TablePeer {
  readonly peer: PeerId
  readonly position: number
  /** In ms of the monotonic clock. */
  readonly connectedAt: number
  /** When something of a blob last moved between both, in ms; undefined where nothing has. */
  readonly usedAt: number | undefined
  /** Whether something of a blob moves now. */
  readonly isInUse: boolean
  readonly isSeed: boolean
  /** Whether it passes anything on: one of another version does not. */
  readonly isKnown: boolean
  /** Where its connection comes from; undefined where that is not known. */
  readonly address?: string | undefined
}

/** What of a connected peer says whether another one is wanted. */
type Place = Pick<TablePeer, 'position'>

/** How many of the nearest peers a node with so many connections keeps. */
export function nearCount(max: number): number {
  return Math.min(MAX_NEAR, Math.floor(max * NEAR_SHARE))
}

/** Buckets that reach beyond the near peers, and how many contacts are kept in each. */
function contactsOf(self: number, connected: readonly Place[], max: number): { buckets: number; each: number } {
  const near = nearCount(max)
  const farthest = nearestOf(self, connected)[near - 1]
  const buckets = farthest === undefined ? 1 : bucketOf(self, farthest.position) + 1
  return { buckets, each: Math.max(LEAST_CONTACTS, Math.floor((max * OWN_SHARE - near) / buckets)) }
}

/** Number of leading bits in which two positions agree: 0 for half of all nodes, one more for half of the rest each time. */
export function bucketOf(self: number, position: number): number {
  return Math.clz32(self ^ position)
}

/** Why a peer is kept. What is cut first comes first. */
const RANKS = ['useless', 'none', 'seed', 'new', 'contact', 'near', 'used'] as const

/**
 * The peers to leave where a node has more than `max`. First those that pass nothing on, then those kept for no reason, then seeds, then those that are new; of equals
 * those of whichever network and address has most, as anybody can have many PeerIds; then those of the farthest bucket, as there are most
 * others like them, and of these the one that was idle for longest. Peers with which something of a blob moves are never left.
 * @param now in ms of the monotonic clock
 */
export function excessOf(self: number, peers: readonly TablePeer[], max: number, now: number): readonly PeerId[] {
  if (peers.length <= max) return []
  const reasons = reasonsOf(self, peers, max, now)
  const order = peers
    .map((peer) => ({ ...peer, rank: RANKS.indexOf(reasons.get(peer.peer) ?? 'none') }))
    .filter(({ rank }) => rank < RANKS.indexOf('used'))
    .sort(
      (a, b) =>
        a.rank - b.rank ||
        bucketOf(self, a.position) - bucketOf(self, b.position) ||
        (a.usedAt ?? a.connectedAt) - (b.usedAt ?? b.connectedAt),
    )
  const addressOf = ({ peer, address }: TablePeer) => address ?? peer
  const byAddress = fairly(order, addressOf)
  const cut = fairly(byAddress, (peer) => originOf(addressOf(peer))[0]).slice(0, peers.length - max)
  // A newcomer has not said yet what it is for.
  const overshoot = Math.max(0, peers.length - Math.floor(max * NEW_ROOM))
  return cut.filter(({ rank }, index) => rank !== RANKS.indexOf('new') || index < overshoot).map(({ peer }) => peer)
}

/**
 * Puts first, within each rank, those whose owner has most others that come later. Where all have different owners, nothing changes.
 * @param order by rank, what is cut first comes first
 */
function fairly<T extends { readonly rank: number }>(order: readonly T[], ownerOf: (one: T) => string): readonly T[] {
  const counts = new Map<string, number>()
  const numbered = order.toReversed().map((one) => {
    const owner = ownerOf(one)
    const number = (counts.get(owner) ?? 0) + 1
    counts.set(owner, number)
    return { one, number }
  })
  return numbered
    .toReversed()
    .sort((a, b) => a.one.rank - b.one.rank || b.number - a.number)
    .map(({ one }) => one)
}

function reasonsOf(
  self: number,
  peers: readonly TablePeer[],
  max: number,
  now: number,
): ReadonlyMap<PeerId, (typeof RANKS)[number]> {
  const reasons = new Map<PeerId, (typeof RANKS)[number]>()
  for (const { peer, isSeed, isKnown, connectedAt } of peers)
    if (now - connectedAt < NEW_MS) reasons.set(peer, 'new')
    else if (!isKnown) reasons.set(peer, 'useless')
    else if (isSeed) reasons.set(peer, 'seed')
  const contacts = new Map<number, number>()
  const { each } = contactsOf(self, peers, max)
  // The oldest contact has lived for longest, and is likely to live on.
  const known = peers.filter(({ isKnown }) => isKnown)
  for (const { peer, position } of known.toSorted((a, b) => a.connectedAt - b.connectedAt)) {
    const bucket = bucketOf(self, position)
    const count = (contacts.get(bucket) ?? 0) + 1
    contacts.set(bucket, count)
    if (count <= each) reasons.set(peer, 'contact')
  }
  for (const { peer } of nearestOf(self, known).slice(0, nearCount(max))) reasons.set(peer, 'near')
  for (const { peer, isInUse } of peers) if (isInUse) reasons.set(peer, 'used')
  return reasons
}

/** Whether a connection to a node at this position is worth its place: it would be near, or a contact that a bucket lacks. */
export function isWanted(self: number, connected: readonly Place[], max: number, position: number): boolean {
  const near = nearestOf(self, connected)[nearCount(max) - 1]
  if (near === undefined || distanceOf(self, position) < distanceOf(self, near.position)) return true
  const bucket = bucketOf(self, position)
  const { each } = contactsOf(self, connected, max)
  return connected.filter((other) => bucketOf(self, other.position) === bucket).length < each
}

/** Buckets beyond the near peers that have too few contacts; the farthest first, which holds the most nodes. */
export function lackingBuckets(self: number, connected: readonly Place[], max: number): readonly number[] {
  const { buckets, each } = contactsOf(self, connected, max)
  const counts = new Map<number, number>()
  for (const { position } of connected) {
    const bucket = bucketOf(self, position)
    counts.set(bucket, (counts.get(bucket) ?? 0) + 1)
  }
  return Array.from({ length: buckets }, (_, bucket) => bucket).filter((bucket) => (counts.get(bucket) ?? 0) < each)
}

/** A position in a bucket, at random. @param random 0 to 1 */
export function somewhereIn(self: number, bucket: number, random: number): number {
  const flipped = (self ^ (2 ** (31 - bucket))) >>> 0
  const below = 2 ** (31 - bucket)
  return Math.floor(flipped / below) * below + Math.floor(random * below)
}

/** Some of the near peers, drawn at random. @param random 0 to 1 */
export function someNear<T extends Place>(
  self: number,
  connected: readonly T[],
  max: number,
  count: number,
  random: () => number,
): readonly T[] {
  const near = nearestOf(self, connected).slice(0, nearCount(max))
  const drawn = near.map((peer) => ({ peer, order: random() })).sort((a, b) => a.order - b.order)
  return drawn.slice(0, count).map(({ peer }) => peer)
}

/** How many nodes the swarm probably has, by how near the near peers are. Wrong by a quarter on average. */
export function estimateOf(self: number, connected: readonly Place[], max: number): number {
  const count = Math.min(nearCount(max), connected.length)
  const farthest = nearestOf(self, connected)[count - 1]
  if (farthest === undefined) return 1
  return (count * 2 ** 32) / (distanceOf(self, farthest.position) + 1)
}

function nearestOf<T extends Place>(self: number, peers: readonly T[]): readonly T[] {
  return peers.toSorted((a, b) => distanceOf(self, a.position) - distanceOf(self, b.position))
}
