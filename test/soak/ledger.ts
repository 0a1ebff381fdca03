import { existsSync } from 'node:fs'

/** Why upstream gave bytes. Of several reasons the first one counts. */
export const REASONS = {
  first: 'given for the first time',
  cut: 'given again: each time before, upstream failed or the connection was cut',
  nobody: 'given again: no node has them any more (evicted, removed, disk full)',
  holderFault: 'given again: all nodes that have them had a fault, or just before',
  ownFault: 'given again: the node that asked had a fault, or just before',
  failing: 'given again: upstream failed, or just before',
  unexplained: 'given again although another node could have given them',
} as const

export type Reason = keyof typeof REASONS

/** What a node has of a blob on its disk. */
export type Holding = 'whole' | 'part' | undefined

/** The fleet at the moment when upstream was asked. */
export interface Moment {
  /** Whether upstream had a fault, or just before. */
  readonly isFailing: boolean
  /** All nodes, and the one that asked among them. */
  readonly nodes: readonly { readonly name: string; readonly isWell: boolean; readonly holds: Holding }[]
}

/** Bytes of a blob that upstream has put on the wire. */
export interface Giving {
  readonly node: string
  readonly digest: string
  /** Of the first byte in the blob. */
  readonly start: number
  readonly bytes: number
  readonly moment: Moment
  /** Whether it was cut off, or upstream had a fault until its end. */
  readonly isBroken: boolean
}

interface Span {
  readonly node: string
  readonly start: number
  readonly end: number
  readonly isBroken: boolean
}

export type Sums = Record<Reason, { bytes: number; times: number }>

/**
 * Counts what upstream gave against what had to be given. A byte has to be given once for the whole fleet. What is given again has a
 * reason, or counts as unexplained: some other node had it, or was getting it, and neither of both had a fault.
 */
export class Ledger {
  readonly sums: Sums = Object.fromEntries(
    Object.keys(REASONS).map((reason) => [reason, { bytes: 0, times: 0 }]),
  ) as Sums
  readonly #given = new Map<string, Span[]>()

  /** @returns the reason for the bytes that were given before, and their number; undefined where all are new */
  add(giving: Giving): { readonly reason: Reason; readonly bytes: number } | undefined {
    const { node, digest, start, bytes, isBroken } = giving
    if (bytes <= 0) return undefined
    const given = this.#given.get(digest) ?? []
    const span = { node, start, end: start + bytes, isBroken }
    const before = given.filter((other) => other.start < span.end && span.start < other.end)
    const again = coveredBytes(before, span)
    this.#given.set(digest, [...given, span])
    this.#count('first', bytes - again)
    if (again === 0) return undefined
    const right = before.filter((other) => !other.isBroken)
    const reason = reasonOf(
      giving,
      right.map((other) => other.node),
    )
    this.#count(reason, again)
    return { reason, bytes: again }
  }

  #count(reason: Reason, bytes: number): void {
    if (bytes <= 0) return
    this.sums[reason].bytes += bytes
    this.sums[reason].times++
  }
}

/** @param gotBefore nodes that have got some of it before, without being cut off */
function reasonOf({ node, moment, isBroken }: Giving, gotBefore: readonly string[]): Reason {
  if (gotBefore.length === 0) return 'cut'
  // A node asks for what its own part lacks, unless it has got that before.
  const isOwnRest = ({ name, holds }: Moment['nodes'][number]) =>
    name === node && holds === 'part' && !gotBefore.includes(node)
  const holders = moment.nodes.filter((one) => one.holds !== undefined && !isOwnRest(one))
  if (holders.length === 0) return 'nobody'
  if (!holders.some(({ isWell }) => isWell)) return 'holderFault'
  if (moment.nodes.some(({ name, isWell }) => name === node && !isWell)) return 'ownFault'
  return moment.isFailing || isBroken ? 'failing' : 'unexplained'
}

/** Bytes of a span that others cover. */
function coveredBytes(others: readonly Span[], { start, end }: Span): number {
  let covered = 0
  let from = start
  for (const other of [...others].sort((a, b) => a.start - b.start)) {
    const until = Math.min(other.end, end)
    if (until <= from) continue
    covered += until - Math.max(other.start, from)
    from = until
  }
  return covered
}

/** What is in a data folder of a blob. */
export function holdingOf(dataDir: string, digest: string): Holding {
  const hex = digest.replace('sha256:', '')
  if (existsSync(`${dataDir}/blobs/sha256/${hex}`)) return 'whole'
  return existsSync(`${dataDir}/blobs/partial/sha256-${hex}.data`) ? 'part' : undefined
}
