import {
  type Claim,
  expire,
  firstAt,
  giveBack,
  isAnywhere,
  type Line,
  lineOf,
  linesOf,
  type Member,
  type Naming,
  nameFor,
  newClaim,
  remove,
  roleAt,
  takeOut,
} from './claim.ts'
import { Deadlines } from './deadlines.ts'
import type { BlobId, PeerId, Turn, Want } from './messages.ts'
import type { Numbers } from './numbers.ts'

export type QueueEvent =
  | {
      readonly kind: 'wants'
      readonly from: PeerId
      readonly wants: readonly Want[]
      /** Peers that have announced a blob; for a blob that is not in it, what was said last holds. */
      readonly recorded: ReadonlyMap<BlobId, readonly PeerId[]>
    }
  /** A connection is gone. */
  | { readonly kind: 'left'; readonly peer: PeerId }
  | { readonly kind: 'wake' }

/** A turn that is to be told. */
export interface Telling {
  readonly to: PeerId
  readonly turn: Turn
}

/** Bounds of what a coordinator remembers: they protect its memory, and tune nothing. */
const MAX_CLAIMS = 4_096
const MAX_MEMBERS = 4_096

/**
 * Whoever has said that it has a blob is forgotten after this time, in ms. By then it has announced it, and is named as such. Nobody says
 * of a peer that is not connected that it has gone.
 */
const HOLDER_MS = 600_000

/**
 * The coordinator's side: one queue for each blob, whose head reads upstream. A head that is gone is followed by the next one at
 * once. One that brings nothing is raced against for one chunk by the first that is hungry, and whoever brings a chunk first is the
 * head. Where somebody has the whole blob, as it says or as is recorded, only the hungry are granted a turn. For each site the same
 * holds of asking other sites: there is a line for it, of those who fetch the blob there. In memory; time is the caller's. A message costs the same, however many claims and members there are.
 */
export class ClaimQueue {
  readonly #numbers: Numbers
  readonly #naming: Naming
  /** The one asked for longest ago first. */
  readonly #claims = new Map<BlobId, Claim>()
  /** Those of them for blobs that nobody fetches, the one looked at longest ago first. */
  readonly #idle = new Set<Claim>()
  /** When claims are to be looked at although nobody says anything. */
  readonly #deadlines = new Deadlines<Claim>()
  #tellings: Telling[] = []
  #now = 0

  /** @param siteOf the site of a peer, if it has told one @param canGive whether others can fetch from it */
  constructor(
    numbers: Numbers,
    random: () => number,
    siteOf: (peer: PeerId) => string | undefined = () => undefined,
    canGive: (peer: PeerId) => boolean = () => true,
  ) {
    this.#numbers = numbers
    this.#naming = { random, siteOf, canGive }
  }

  /** When `wake` is to happen, in ms of the clock of events. */
  get wakeAt(): number {
    return this.#deadlines.first
  }

  /** @param now ms of any clock that does not go back */
  step(event: QueueEvent, now: number): readonly Telling[] {
    this.#now = now
    if (event.kind === 'wants')
      for (const want of event.wants) this.#want(event.from, want, event.recorded.get(want.blob))
    else if (event.kind === 'left') for (const claim of [...this.#claims.values()]) this.#leave(claim, event.peer)
    else for (const claim of this.#deadlines.ripe(now)) this.#look(claim)
    for (const claim of this.#idle) {
      if (now - claim.lookedAt < HOLDER_MS) break
      this.#look(claim)
    }
    const tellings = this.#tellings
    this.#tellings = []
    return tellings
  }

  #want(from: PeerId, want: Want, recorded: readonly PeerId[] | undefined): void {
    const { blob, wish, sought } = want
    const known = this.#claims.get(blob)
    if (wish === 'gone' || wish === 'soon') {
      if (wish === 'soon') {
        const claim = known ?? newClaim(blob, 0, this.#now)
        if (recorded !== undefined) claim.recorded = recorded
        this.#tell(claim, from, sought)
      }
      if (known === undefined) return
      known.recorded = known.recorded.filter((peer) => peer !== from)
      this.#leave(known, from)
      return
    }
    const claim = this.#claim(blob)
    if (recorded !== undefined) claim.recorded = recorded
    if (wish === 'done') this.#hold(claim, from)
    else this.#fetch(claim, from, want)
  }

  /** Somebody has the blob. Those who fetch it are told to it where it is new, so that it tells them. */
  #hold(claim: Claim, from: PeerId): void {
    const isNew = !claim.members.has(from) && !claim.upstream.holders.has(from)
    remove(claim, from)
    const lines = this.#naming.canGive(from) ? [claim.upstream, this.#siteLine(claim, from)] : []
    for (const line of lines) line?.holders.add(from)
    if (lines.length > 0) claim.heldAt.set(from, this.#now)
    const [oldest] = claim.heldAt.keys()
    if (claim.heldAt.size > MAX_MEMBERS && oldest !== undefined) remove(claim, oldest)
    this.#look(claim)
    if (isNew && claim.members.size > 0) this.#tell(claim, from, this.#numbers.named)
  }

  #fetch(claim: Claim, from: PeerId, { brought, wish, sought, far }: Want): void {
    const before = claim.members.get(from)
    const site = far === undefined ? undefined : this.#siteLine(claim, from)
    claim.heldAt.delete(from)
    for (const line of linesOf(claim)) line.holders.delete(from)
    const member = before ?? { peer: from, brought, crossed: far ?? 0, wish, heardAt: this.#now, site }
    const crossed = far ?? member.crossed
    const hasMore = brought > member.brought || crossed > member.crossed
    const chunks = this.#chunks(member.brought, brought)
    const farChunks = this.#chunks(member.crossed, crossed)
    member.brought = brought
    member.crossed = crossed
    member.wish = wish
    member.heardAt = this.#now
    if (member.site !== undefined && member.site !== site) takeOut(claim, member.site, member)
    member.site = site
    claim.members.delete(from)
    claim.members.set(from, member)
    for (const line of [claim.upstream, site]) {
      if (line === undefined) continue
      if (this.#naming.canGive(from)) line.names.add(from)
      // Other sites can be asked for what upstream does not give.
      if (wish === 'unable' && line === claim.upstream) giveBack(line, member)
      else line.queue.add(member)
      if (wish === 'hungry') line.hungry.add(member)
      else line.hungry.delete(member)
    }
    const [oldest] = claim.members.keys()
    if (claim.members.size > MAX_MEMBERS && oldest !== undefined) remove(claim, oldest)
    if (chunks > 0) this.#progress(claim, claim.upstream, member, chunks)
    if (farChunks > 0 && site !== undefined) this.#progress(claim, site, member, farChunks)
    this.#look(claim)
    // Whoever waits hears how far the head has come.
    const isNew = before === undefined
    if (isNew || !hasMore) this.#tell(claim, from, isNew ? this.#numbers.named : sought)
  }

  #chunks(before: number, now: number): number {
    const { quarters } = this.#numbers
    return Math.floor(now / quarters) - Math.floor(before / quarters)
  }

  /** The line of a peer's site. There is none for sites beyond a number that no fleet has. */
  #siteLine(claim: Claim, peer: PeerId): Line | undefined {
    return lineOf(claim, this.#naming.siteOf(peer), this.#numbers.headLateMs, this.#now)
  }

  /** Whoever brings a chunk, the head or its racer, is the head. */
  #progress(claim: Claim, line: Line, member: Member, chunks: number): void {
    const { head, racer, headAt } = line
    if (member !== head && member !== racer) return
    const { headLateMs } = this.#numbers
    const took = (this.#now - headAt) / chunks
    line.headAt = this.#now
    line.head = member
    line.racer = undefined
    if (member === racer) {
      if (head !== undefined) this.#toEnd(claim, line, head)
      this.#tell(claim, member.peer, 0)
    } else if (racer !== undefined) {
      line.patience = Math.max(line.patience, took) * 2
      this.#toEnd(claim, line, racer)
    } else if (took < headLateMs / 2) line.patience = headLateMs
  }

  /** Grants turns that are due, and says when to look again. */
  #look(claim: Claim): void {
    claim.lookedAt = this.#now
    expire(claim, this.#now, 3 * this.#numbers.renewMs, HOLDER_MS)
    let at = Number.POSITIVE_INFINITY
    for (const line of linesOf(claim)) at = Math.min(at, this.#lookAt(claim, line))
    const { members, upstream } = claim
    this.#idle.delete(claim)
    if (members.size === 0) this.#idle.add(claim)
    if (members.size === 0 && upstream.holders.size === 0) this.#forget(claim)
    else this.#deadlines.set(claim, at)
  }

  /** @returns when to look at the line again, in ms */
  #lookAt(claim: Claim, line: Line): number {
    this.#grantDue(claim, line)
    const { head, racer, racerAt, headAt, patience } = line
    if (racer !== undefined) return racerAt + patience
    return head !== undefined && firstAt(line, 'hungry') !== undefined ? headAt + patience : Number.POSITIVE_INFINITY
  }

  #grantDue(claim: Claim, line: Line): void {
    const now = this.#now
    // Whoever asks other sites is told of peers there.
    const sought = line === claim.upstream ? 0 : this.#numbers.named
    const { siteOf, canGive } = this.#naming
    const first = () => firstAt(line, isAnywhere(claim, line, siteOf) ? 'hungry' : 'queue', canGive)
    const { head } = line
    // What it reads nobody else can have: all others would wait for nothing.
    if (head !== undefined && !canGive(head.peer) && canGive(first()?.peer ?? head.peer)) {
      line.head = undefined
      this.#toEnd(claim, line, head)
    }
    if (line.head === undefined) {
      const next = line.racer ?? first()
      line.racer = undefined
      if (next === undefined) return
      line.head = next
      line.headAt = now
      this.#tell(claim, next.peer, sought)
      return
    }
    if (line.racer !== undefined && now >= line.racerAt + line.patience) {
      // Neither brings anything: it is upstream that takes its time, and a third reader would make it slower.
      line.patience *= 2
      const { racer } = line
      line.racer = undefined
      this.#toEnd(claim, line, racer)
    }
    if (line.racer !== undefined || now < line.headAt + line.patience) return
    const racer = firstAt(line, 'hungry', canGive)
    if (racer === undefined) return
    line.racer = racer
    line.racerAt = now
    this.#tell(claim, racer.peer, sought)
  }

  #toEnd(claim: Claim, line: Line, member: Member): void {
    for (const waiting of [line.queue, line.hungry]) if (waiting.delete(member)) waiting.add(member)
    this.#tell(claim, member.peer, 0)
  }

  /** A peer has gone, or neither fetches the blob nor has it. */
  #leave(claim: Claim, peer: PeerId): void {
    if (!claim.members.has(peer) && !claim.upstream.holders.has(peer)) return
    remove(claim, peer)
    this.#look(claim)
  }

  #claim(blob: BlobId): Claim {
    const claim = this.#claims.get(blob) ?? newClaim(blob, this.#numbers.headLateMs, this.#now)
    this.#claims.delete(blob)
    this.#claims.set(blob, claim)
    // A peer may have thousands of blobs, of which it tells at once: that is no reason to forget those that are fetched now.
    const [oldest] = this.#idle.size > 0 ? this.#idle : this.#claims.values()
    if (this.#claims.size > MAX_CLAIMS && oldest !== undefined) this.#forget(oldest)
    return claim
  }

  #forget(claim: Claim): void {
    this.#claims.delete(claim.blob)
    this.#idle.delete(claim)
    this.#deadlines.set(claim, Number.POSITIVE_INFINITY)
  }

  /** Tells somebody its roles. */
  #tell(claim: Claim, to: PeerId, sought: number): void {
    const { blob, upstream, sites } = claim
    const { head } = upstream
    const member = claim.members.get(to)
    const site = member === undefined ? sites.get(this.#naming.siteOf(to) ?? '') : member.site
    const members = nameFor(claim, site, to, Math.min(sought, this.#numbers.named), this.#naming)
    const role = roleAt(upstream, member)
    const turn = { blob, role, head: head?.peer, brought: head?.brought ?? 0, members }
    this.#tellings.push({ to, turn: member?.site === undefined ? turn : { ...turn, far: roleAt(member.site, member) } })
  }
}
