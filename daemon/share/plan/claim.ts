import type { BlobId, PeerId, Role, Want } from './messages.ts'

/** Somebody who fetches the blob. */
export interface Member {
  readonly peer: PeerId
  /** Parts that it has brought from upstream, and from other sites. */
  brought: number
  crossed: number
  wish: Want['wish']
  heardAt: number
  /** The line in which it waits for a turn at other sites; undefined where it knows no site, or asks none. */
  site: Line | undefined
}

/**
 * Those who wait for a turn at a thin line: at upstream all who fetch the blob, at other sites those of one site. In either it is one
 * who asks, and the others get it from there.
 */
export interface Line {
  /** Undefined for upstream. */
  readonly site: string | undefined
  /** Those of the members that can ask there. Whoever gives its turn back, or loses it, goes to the end. */
  readonly queue: Set<Member>
  /** Those of them to whom nothing comes. */
  readonly hungry: Set<Member>
  /** Names of the members. */
  readonly names: Names
  /** Those who have said that they have the blob. */
  readonly holders: Names
  head: Member | undefined
  racer: Member | undefined
  /** When the head was granted its turn, or brought a chunk last; in ms. */
  headAt: number
  racerAt: number
  /** How long the head may take for a chunk, in ms: longer after each race in vain, as then it is the line that takes its time. */
  patience: number
}

/** Who has one blob, who reads it from upstream or asks other sites for it, and who would. */
export interface Claim {
  readonly blob: BlobId
  /** Those who fetch it, the one heard of longest ago first. */
  readonly members: Map<PeerId, Member>
  readonly upstream: Line
  /** By site. */
  readonly sites: Map<string, Line>
  /** When those who have it said so, in ms; the one heard of longest ago first. */
  readonly heldAt: Map<PeerId, number>
  /** When it was looked at last, in ms. */
  lookedAt: number
  /** Those who have announced it, as was told last. */
  recorded: readonly PeerId[]
}

export function newClaim(blob: BlobId, patience: number, now: number): Claim {
  const upstream = newLine(undefined, patience, now)
  return { blob, members: new Map(), upstream, sites: new Map(), heldAt: new Map(), lookedAt: now, recorded: [] }
}

function newLine(site: string | undefined, patience: number, now: number): Line {
  return {
    site,
    queue: new Set(),
    hungry: new Set(),
    names: new Names(),
    holders: new Names(),
    head: undefined,
    racer: undefined,
    headAt: now,
    racerAt: now,
    patience,
  }
}

/** Above this number of sites of one blob, which no fleet has, the others have no line. It protects memory, and tunes nothing. */
const MAX_SITES = 64

/** The line of a site, new where there is none yet; undefined for no site, and for one above the bound. */
export function lineOf({ sites }: Claim, site: string | undefined, patience: number, now: number): Line | undefined {
  if (site === undefined) return undefined
  const known = sites.get(site)
  if (known !== undefined || sites.size >= MAX_SITES) return known
  const line = newLine(site, patience, now)
  sites.set(site, line)
  return line
}

/** The lines of the sites, and that at upstream. */
export function linesOf({ upstream, sites }: Claim): readonly Line[] {
  return sites.size === 0 ? [upstream] : [...sites.values(), upstream]
}

/** What a member is at a line. */
export function roleAt({ head, racer }: Line, member: Member | undefined): Role {
  if (member === undefined) return 'none'
  return member === head ? 'head' : member === racer ? 'racer' : 'none'
}

/** Whether somebody has the whole blob, as it says or as is recorded; for the line of a site, somebody there. */
export function isAnywhere(
  { recorded, members }: Claim,
  { site, holders }: Line,
  siteOf: (peer: PeerId) => string | undefined,
): boolean {
  const isThere = (peer: PeerId) => !members.has(peer) && (site === undefined || siteOf(peer) === site)
  return holders.size > 0 || recorded.some(isThere)
}

/** The first who may be given a turn at a line: the head of its queue, or of its hungry; best one from which others can fetch. */
export function firstAt(
  line: Line,
  which: 'queue' | 'hungry',
  canGive: (peer: PeerId) => boolean = () => true,
): Member | undefined {
  let first: Member | undefined
  for (const member of line[which]) {
    if (member === line.head || !isPutForward(line, member)) continue
    if (canGive(member.peer)) return member
    first ??= member
  }
  return first
}

/** A site is at upstream by the one who asks other sites for it; unless upstream gives that one nothing. */
function isPutForward({ site: ofSite, queue }: Line, member: Member): boolean {
  const { site } = member
  if (ofSite !== undefined || site?.head === undefined || !queue.has(site.head)) return true
  return member === site.head || member === site.racer
}

/** It waits for no turn any more, and has none. */
export function giveBack(line: Line, member: Member): void {
  line.queue.delete(member)
  line.hungry.delete(member)
  if (line.head === member) line.head = undefined
  if (line.racer === member) line.racer = undefined
}

/** It takes no part any more. */
export function takeOut(claim: Claim, line: Line, member: Member): void {
  line.names.delete(member.peer)
  giveBack(line, member)
  sweep(claim, line)
}

/** Forgets a site that nobody is at any more. */
function sweep({ sites }: Claim, { site, names, holders }: Line): void {
  if (site !== undefined && names.size === 0 && holders.size === 0) sites.delete(site)
}

/** A peer neither fetches the blob any more nor has it. */
export function remove(claim: Claim, peer: PeerId): void {
  const member = claim.members.get(peer)
  claim.members.delete(peer)
  claim.heldAt.delete(peer)
  for (const line of linesOf(claim)) {
    line.holders.delete(peer)
    if (member !== undefined && (line === claim.upstream || line === member.site)) takeOut(claim, line, member)
    else sweep(claim, line)
  }
}

/** Forgets members and holders that were not heard of for so many milliseconds. */
export function expire(claim: Claim, now: number, memberMs: number, holderMs: number): void {
  for (const [peer, heldAt] of claim.heldAt) {
    if (now - heldAt < holderMs) break
    remove(claim, peer)
  }
  for (const [peer, { heardAt }] of claim.members) {
    if (now - heardAt < memberMs) break
    remove(claim, peer)
  }
}

/** What is known of peers where some are named to others. */
export interface Naming {
  readonly random: () => number
  /** The site of a peer, if it has told one. */
  readonly siteOf: (peer: PeerId) => string | undefined
  /** Whether others can fetch from a peer. */
  readonly canGive: (peer: PeerId) => boolean
}

/** Peers of whom some are drawn at random, in a time that does not grow with their number. */
class Names {
  readonly #peers: PeerId[] = []
  readonly #at = new Map<PeerId, number>()

  get size(): number {
    return this.#peers.length
  }

  has(peer: PeerId): boolean {
    return this.#at.has(peer)
  }

  add(peer: PeerId): void {
    if (this.#at.has(peer)) return
    this.#at.set(peer, this.#peers.length)
    this.#peers.push(peer)
  }

  /** @returns whether it was there */
  delete(peer: PeerId): boolean {
    const at = this.#at.get(peer)
    if (at === undefined) return false
    this.#swap(at, this.#peers.length - 1)
    this.#peers.pop()
    this.#at.delete(peer)
    return true
  }

  /** All, in a random order, drawn as they are asked for. Nothing may be added or deleted meanwhile. */
  *drawn(random: () => number): Generator<PeerId, void> {
    for (let at = 0; at < this.#peers.length; at++) {
      this.#swap(at, at + Math.floor(random() * (this.#peers.length - at)))
      yield this.#peers[at] ?? ''
    }
  }

  #swap(one: number, other: number): void {
    const [a, b] = [this.#peers[one], this.#peers[other]]
    if (a === undefined || b === undefined) return
    this.#peers[one] = b
    this.#peers[other] = a
    this.#at.set(b, one)
    this.#at.set(a, other)
  }
}

/**
 * Peers that are told to somebody: first those of its site, all of them, or a half for one that asks other sites; then any. Of either
 * the head comes first, then up to a half such as have the blob, then others that fetch it, and if there are too few of those more
 * that have it. Announced ones may be gone, and all who ask at once would come to the same few.
 * @param site the line of the asker's site, if it has any
 */
export function nameFor(
  claim: Claim,
  site: Line | undefined,
  asker: PeerId,
  count: number,
  { random, siteOf, canGive }: Naming,
): PeerId[] {
  const named = new Set<PeerId>()
  const announced = claim.recorded.filter((peer) => !claim.members.has(peer))
  if (site !== undefined) {
    const asksOthers = roleAt(site, claim.members.get(asker)) !== 'none'
    const near = announced.filter((peer) => siteOf(peer) === site.site)
    nameOf(site, near, named, asker, asksOthers ? Math.ceil(count / 2) : count, random, canGive)
  }
  nameOf(claim.upstream, announced, named, asker, count, random, canGive)
  return [...named]
}

function nameOf(
  { head, holders, names }: Line,
  recorded: readonly PeerId[],
  named: Set<PeerId>,
  asker: PeerId,
  count: number,
  random: () => number,
  canGive: (peer: PeerId) => boolean,
): void {
  const add = (peers: Iterable<PeerId>, most: number) => {
    for (const peer of peers) {
      if (named.size >= most) return
      if (peer !== asker) named.add(peer)
    }
  }
  if (head !== undefined && canGive(head.peer)) add([head.peer], count)
  const announced = new Names()
  for (const peer of recorded) announced.add(peer)
  const half = named.size + Math.ceil((count - named.size) / 2)
  add(holders.drawn(random), half)
  add(announced.drawn(random), half)
  add(names.drawn(random), count)
  add(holders.drawn(random), count)
  add(announced.drawn(random), count)
}
