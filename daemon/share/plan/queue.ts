import { type Claim, type Member, nameFor, newClaim } from './claim.ts'
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
 * The coordinator's side: one queue for each blob, whose head reads upstream. A head that is gone is followed by the next one at
 * once. One that brings nothing is raced against for one chunk by the first that is hungry, and whoever brings a chunk first is the
 * head. Where somebody has the whole blob, as it says or as is recorded, only the hungry are granted a turn. In memory; time is the
 * caller's. A message costs the same, however many claims and members there are.
 */
export class ClaimQueue {
  readonly #numbers: Numbers
  readonly #random: () => number
  /** The one asked for longest ago first. */
  readonly #claims = new Map<BlobId, Claim>()
  /** Those of them for blobs that nobody fetches. */
  readonly #idle = new Set<Claim>()
  /** Claims that are to be looked at later although nobody says anything, and when, in ms. */
  readonly #due = new Map<Claim, number>()
  /** The one that is due first; undefined where that is not known. */
  #next: Claim | undefined
  #tellings: Telling[] = []
  #now = 0

  constructor(numbers: Numbers, random: () => number) {
    this.#numbers = numbers
    this.#random = random
  }

  /** When `wake` is to happen, in ms of the clock of events. */
  get wakeAt(): number {
    if (this.#next === undefined)
      for (const [claim, at] of this.#due)
        if (this.#next === undefined || at < (this.#due.get(this.#next) ?? 0)) this.#next = claim
    return this.#next === undefined ? Number.POSITIVE_INFINITY : (this.#due.get(this.#next) ?? 0)
  }

  /** @param now ms of any clock that does not go back */
  step(event: QueueEvent, now: number): readonly Telling[] {
    this.#now = now
    if (event.kind === 'wants')
      for (const want of event.wants) this.#want(event.from, want, event.recorded.get(want.blob))
    else if (event.kind === 'left') for (const claim of [...this.#claims.values()]) this.#leave(claim, event.peer)
    else for (const [claim, at] of [...this.#due]) if (now >= at) this.#look(claim)
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
        this.#tell(claim, from, 'none', sought)
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
    const isNew = !claim.members.has(from) && !claim.holders.has(from)
    this.#remove(claim, from)
    claim.holders.add(from)
    if (claim.holders.size > MAX_MEMBERS) claim.holders.delete(claim.holders.oldest ?? from)
    this.#look(claim)
    if (isNew && claim.members.size > 0) this.#tell(claim, from, 'none', this.#numbers.named)
  }

  #fetch(claim: Claim, from: PeerId, { brought, wish, sought }: Want): void {
    const before = claim.members.get(from)
    claim.holders.delete(from)
    const member = before ?? { peer: from, brought, wish, heardAt: this.#now }
    const hasMore = brought > member.brought
    const { quarters, named } = this.#numbers
    const chunks = Math.floor(brought / quarters) - Math.floor(member.brought / quarters)
    member.brought = brought
    member.wish = wish
    member.heardAt = this.#now
    claim.members.delete(from)
    claim.members.set(from, member)
    claim.names.add(from)
    if (wish === 'unable') this.#giveBack(claim, member)
    else claim.queue.add(member)
    if (wish === 'hungry') claim.hungry.add(member)
    else claim.hungry.delete(member)
    const [oldest] = claim.members.keys()
    if (claim.members.size > MAX_MEMBERS && oldest !== undefined) this.#remove(claim, oldest)
    if (chunks > 0) this.#progress(claim, member, chunks)
    this.#look(claim)
    // Whoever waits hears how far the head has come.
    const isNew = before === undefined
    if (isNew || !hasMore) this.#tell(claim, from, this.#roleOf(claim, member), isNew ? named : sought)
  }

  /** Whoever brings a chunk, the head or its racer, is the head. */
  #progress(claim: Claim, member: Member, chunks: number): void {
    const { head, racer, headAt } = claim
    if (member !== head && member !== racer) return
    const { headLateMs } = this.#numbers
    const took = (this.#now - headAt) / chunks
    claim.headAt = this.#now
    claim.head = member
    claim.racer = undefined
    if (member === racer) {
      if (head !== undefined) this.#toEnd(claim, head)
      this.#tell(claim, member.peer, 'head', 0)
    } else if (racer !== undefined) {
      claim.patience = Math.max(claim.patience, took) * 2
      this.#toEnd(claim, racer)
    } else if (took < headLateMs / 2) claim.patience = headLateMs
  }

  /** Grants turns that are due, and says when to look again. */
  #look(claim: Claim): void {
    this.#expire(claim)
    this.#grantDue(claim)
    const { head, racer, racerAt, headAt, patience, members, holders } = claim
    if (members.size === 0) this.#idle.add(claim)
    else this.#idle.delete(claim)
    if (members.size === 0 && holders.size === 0) this.#forget(claim)
    else if (racer !== undefined) this.#lookAgain(claim, racerAt + patience)
    else if (head !== undefined && this.#hungry(claim) !== undefined) this.#lookAgain(claim, headAt + patience)
    else this.#lookAgain(claim, undefined)
  }

  #grantDue(claim: Claim): void {
    const now = this.#now
    if (claim.head === undefined) {
      const [first] = this.#isAnywhere(claim) ? claim.hungry : claim.queue
      const next = claim.racer ?? first
      claim.racer = undefined
      if (next === undefined) return
      claim.head = next
      claim.headAt = now
      this.#tell(claim, next.peer, 'head', 0)
      return
    }
    if (claim.racer !== undefined && now >= claim.racerAt + claim.patience) {
      // Neither brings anything: it is upstream that takes its time, and a third reader would make it slower.
      claim.patience *= 2
      const { racer } = claim
      claim.racer = undefined
      this.#toEnd(claim, racer)
    }
    if (claim.racer !== undefined || now < claim.headAt + claim.patience) return
    const racer = this.#hungry(claim)
    if (racer === undefined) return
    claim.racer = racer
    claim.racerAt = now
    this.#tell(claim, racer.peer, 'racer', 0)
  }

  #lookAgain(claim: Claim, at: number | undefined): void {
    const isSooner = at !== undefined && this.#next !== undefined && at < (this.#due.get(this.#next) ?? 0)
    if (at === undefined) this.#due.delete(claim)
    else this.#due.set(claim, at)
    if (isSooner) this.#next = claim
    else if (this.#next === claim) this.#next = undefined
  }

  #isAnywhere({ holders, recorded, members }: Claim): boolean {
    return holders.size > 0 || recorded.some((peer) => !members.has(peer))
  }

  /** The first one, but for the head. */
  #hungry({ hungry, head }: Claim): Member | undefined {
    for (const member of hungry) if (member !== head) return member
    return undefined
  }

  #roleOf({ head, racer }: Claim, member: Member): Turn['role'] {
    return member === head ? 'head' : member === racer ? 'racer' : 'none'
  }

  #giveBack(claim: Claim, member: Member): void {
    claim.queue.delete(member)
    claim.hungry.delete(member)
    if (claim.head === member) claim.head = undefined
    if (claim.racer === member) claim.racer = undefined
  }

  #toEnd(claim: Claim, member: Member): void {
    for (const line of [claim.queue, claim.hungry]) if (line.delete(member)) line.add(member)
    this.#tell(claim, member.peer, 'none', 0)
  }

  /** A peer has gone, or neither fetches the blob nor has it. */
  #leave(claim: Claim, peer: PeerId): void {
    if (!claim.members.has(peer) && !claim.holders.has(peer)) return
    this.#remove(claim, peer)
    this.#look(claim)
  }

  #remove(claim: Claim, peer: PeerId): void {
    const member = claim.members.get(peer)
    claim.holders.delete(peer)
    claim.names.delete(peer)
    claim.members.delete(peer)
    if (member !== undefined) this.#giveBack(claim, member)
  }

  /** Forgets members that were not heard of for long. */
  #expire(claim: Claim): void {
    for (const [peer, { heardAt }] of claim.members) {
      if (this.#now - heardAt < 3 * this.#numbers.renewMs) return
      this.#remove(claim, peer)
    }
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
    this.#lookAgain(claim, undefined)
  }

  #tell(claim: Claim, to: PeerId, role: Turn['role'], sought: number): void {
    const { blob, head } = claim
    const members = nameFor(claim, to, Math.min(sought, this.#numbers.named), this.#random)
    this.#tellings.push({ to, turn: { blob, role, head: head?.peer, brought: head?.brought ?? 0, members } })
  }
}
