import type { PeerId } from '../swarm/ports.ts'
import type { KnownName } from './table.ts'

/** Whose word counts. */
export interface Standing {
  readonly self: PeerId
  /** Whether only known peers are in the swarm: its members have one name between them. */
  readonly isClosed: boolean
  /** Whether what somebody publishes in a repository counts here; asked of others than this node. */
  counts(publisher: PeerId, repository: string): boolean
}

/** What a name is. */
export interface Choice {
  /** Undefined where there is none, or it was deleted. */
  readonly name: KnownName | undefined
  /** Others that count as well, and say something else. */
  readonly conflicts: readonly KnownName[]
  /** By those who count for nothing here. */
  readonly offers: readonly KnownName[]
}

/**
 * What a name is, by all that is known of its repository. Pure.
 *
 * In a closed swarm the highest sequence counts: whoever pushes has seen what was there, and replaces it. Of several with the same one,
 * which were pushed at once, all nodes choose the same.
 *
 * In an open one, this node's own push comes first, then the repository's owner: of those who count, the one that this node heard of
 * first. Nobody else takes over a name of theirs, whatever their sequence is.
 * @param known all records of the repository
 */
export function choose(known: readonly KnownName[], reference: string, standing: Standing): Choice {
  const { self, isClosed, counts } = standing
  const isCounted = ({ publisher, repository }: KnownName) => publisher === self || counts(publisher, repository)
  const said = known.filter((one) => one.reference === reference)
  const counted = said.filter(isCounted)
  const offers = said.filter((one) => !isCounted(one) && isLive(one))
  const name = isClosed ? latest(counted) : owned(known.filter(isCounted), reference, self)
  const rivals = isClosed ? counted.filter(({ sequence }) => sequence === highest(counted)) : counted
  const conflicts = name === undefined ? [] : rivals.filter((one) => isLive(one) && one.digest !== name.digest)
  return { name, conflicts, offers }
}

/** The same on all nodes, whatever they have heard first. Of one that is pushed and deleted at once, the push is kept. */
function latest(counted: readonly KnownName[]): KnownName | undefined {
  const last = counted.filter((one) => isLive(one) && one.sequence === highest(counted))
  return last.toSorted((a, b) => compare(`${a.digest} ${a.publisher}`, `${b.digest} ${b.publisher}`))[0]
}

function highest(counted: readonly KnownName[]): number {
  return Math.max(0, ...counted.map(({ sequence }) => sequence))
}

function owned(counted: readonly KnownName[], reference: string, self: PeerId): KnownName | undefined {
  const live = counted.filter(isLive)
  const own = live.find((one) => one.publisher === self && one.reference === reference)
  if (own !== undefined) return own
  const [first] = live.filter(({ publisher }) => publisher !== self).toSorted((a, b) => a.order - b.order)
  return live.find((one) => one.publisher === first?.publisher && one.reference === reference)
}

function isLive({ digest }: KnownName): boolean {
  return digest !== undefined
}

function compare(a: string, b: string): number {
  return a < b ? -1 : Number(a > b)
}
