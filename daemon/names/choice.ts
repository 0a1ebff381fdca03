import type { PeerId } from '../swarm/ports.ts'
import type { KnownName } from './table.ts'

/** Whose word counts. */
export interface Standing {
  readonly self: PeerId
  /** Whether only known peers are in the swarm: its members have one name between them. */
  readonly isClosed: boolean
  /** Whether what somebody publishes in a repository counts here; asked of others than this node. */
  counts(publisher: PeerId, repository: string): boolean
  /** Whether anything of somebody may count, whoever tells it. */
  isHeard(publisher: PeerId): boolean
  /**
   * Whether it counts by a rule that does not mean just anybody, so that others may pass it on. To make up publishers costs nothing,
   * unless each of them has to come itself.
   */
  mayPassOn(publisher: PeerId, repository: string): boolean
}

/** What a name is. */
export interface Choice {
  /** Undefined where there is none, or it was deleted. */
  readonly name: KnownName | undefined
  /** Others that count as well, and say something else. */
  readonly conflicts: readonly KnownName[]
  /** By those who count for nothing here. */
  readonly offers: readonly KnownName[]
  /** Where there is no name: by those who count, and may not name anything in somebody else's repository. */
  readonly passedOver: readonly KnownName[]
}

/**
 * What a name is. Pure.
 *
 * In a closed swarm the highest sequence counts: whoever pushes has seen what was there, and replaces it. Of several with the same one,
 * which were pushed at once, all nodes choose the same.
 *
 * In an open one, this node's own push comes first, then that of the repository's owner. Nobody else takes over a name of theirs,
 * whatever their sequence is.
 * @param said all records of the name
 * @param owner of the repository, see {@link ownerOf}
 */
export function choose(said: readonly KnownName[], owner: PeerId | undefined, standing: Standing): Choice {
  const { isClosed } = standing
  const counted = said.filter((one) => isCounted(one, standing))
  const offers = said.filter((one) => !isCounted(one, standing) && isLive(one))
  const name = isClosed ? latest(counted) : owned(counted, owner, standing)
  const rivals = isClosed ? counted.filter(({ sequence }) => sequence === highest(counted)) : counted
  const conflicts = name === undefined ? [] : rivals.filter((one) => isLive(one) && one.digest !== name.digest)
  const passedOver = name === undefined && !isClosed ? counted.filter(isLive) : []
  return { name, conflicts, offers, passedOver }
}

/**
 * Whose a repository is in an open swarm: of others who count and have something in it, the one that this node heard of first.
 * @param known all records of the repository
 */
export function ownerOf(known: readonly KnownName[], standing: Standing): PeerId | undefined {
  if (standing.isClosed) return undefined
  let first: KnownName | undefined
  for (const one of known) {
    if (one.publisher === standing.self || one.order > (first?.order ?? Number.POSITIVE_INFINITY)) continue
    if (isLive(one) && isCounted(one, standing)) first = one
  }
  return first?.publisher
}

/** The same on all nodes, whatever they have heard first. Of one that is pushed and deleted at once, the push is kept. */
function latest(counted: readonly KnownName[]): KnownName | undefined {
  const last = counted.filter((one) => isLive(one) && one.sequence === highest(counted))
  return last.toSorted((a, b) => compare(`${a.digest} ${a.publisher}`, `${b.digest} ${b.publisher}`))[0]
}

function highest(counted: readonly KnownName[]): number {
  return Math.max(0, ...counted.map(({ sequence }) => sequence))
}

function owned(counted: readonly KnownName[], owner: PeerId | undefined, { self }: Standing): KnownName | undefined {
  const by = (publisher: PeerId | undefined) => counted.find((one) => isLive(one) && one.publisher === publisher)
  return by(self) ?? by(owner)
}

/** Whether a record says anything here. */
export function isCounted({ publisher, repository }: KnownName, { self, counts }: Standing): boolean {
  return publisher === self || counts(publisher, repository)
}

function isLive({ digest }: KnownName): boolean {
  return digest !== undefined
}

function compare(a: string, b: string): number {
  return a < b ? -1 : Number(a > b)
}
