import type { BlobId, PeerId, Role, Turn, Want } from './messages.ts'
import type { Numbers } from './numbers.ts'

export type QueueEvent =
  | { readonly kind: 'wants'; readonly from: PeerId; readonly wants: readonly Want[] }
  /** A connection is gone. */
  | { readonly kind: 'left'; readonly peer: PeerId }
  | { readonly kind: 'wake' }

/** A turn that is to be told. */
export interface Telling {
  readonly to: PeerId
  readonly turn: Turn
}

interface Member {
  readonly peer: PeerId
  brought: number
  wish: Want['wish']
  heardAt: number
}

/** Who reads one blob from upstream, and who would. */
interface Claim {
  readonly blob: BlobId
  /** The queue. Whoever gives its turn back, or loses it, goes to the end. */
  readonly members: Map<PeerId, Member>
  head: Member | undefined
  racer: Member | undefined
  /** When the head was granted its turn, or brought a chunk last; in ms. */
  headAt: number
  racerAt: number
  /** How long the head may take for a chunk, in ms: longer after each race in vain, as then it is upstream that takes its time. */
  patience: number
}

/** Bounds of what a coordinator remembers: they protect its memory, and tune nothing. */
const MAX_CLAIMS = 4_096
const MAX_MEMBERS = 4_096

/**
 * The coordinator's side: one queue for each blob, whose head reads upstream. A head that is gone is followed by the next one at
 * once. One that brings nothing is raced against for one chunk by the first that is hungry, and whoever brings a chunk first is the
 * head. Where somebody has the whole blob, only the hungry are granted a turn. In memory; time is the caller's.
 */
export class ClaimQueue {
  readonly #numbers: Numbers
  readonly #random: () => number
  /** The one asked for longest ago first. */
  readonly #claims = new Map<BlobId, Claim>()
  #tellings: Telling[] = []
  #now = 0

  constructor(numbers: Numbers, random: () => number) {
    this.#numbers = numbers
    this.#random = random
  }

  /** When `wake` is to happen, in ms of the clock of events. */
  get wakeAt(): number {
    let at = Number.POSITIVE_INFINITY
    for (const claim of this.#claims.values()) {
      if (claim.racer !== undefined) at = Math.min(at, claim.racerAt + claim.patience)
      else if (claim.head !== undefined && this.#hungry(claim) !== undefined)
        at = Math.min(at, claim.headAt + claim.patience)
    }
    return at
  }

  /** @param now ms of any clock that does not go back */
  step(event: QueueEvent, now: number): readonly Telling[] {
    this.#now = now
    if (event.kind === 'wants') for (const want of event.wants) this.#want(event.from, want)
    else if (event.kind === 'left') for (const claim of [...this.#claims.values()]) this.#leave(claim, event.peer)
    else for (const claim of this.#claims.values()) this.#look(claim)
    const tellings = this.#tellings
    this.#tellings = []
    return tellings
  }

  #want(from: PeerId, { blob, brought, wish, sought }: Want): void {
    const claim = this.#claim(blob)
    let member = claim.members.get(from)
    const isNew = member === undefined
    if (member === undefined) {
      member = { peer: from, brought, wish, heardAt: this.#now }
      claim.members.set(from, member)
      this.#bound(claim)
    }
    const { quarters } = this.#numbers
    const hasMore = brought > member.brought
    const chunks = Math.floor(brought / quarters) - Math.floor(member.brought / quarters)
    member.brought = brought
    member.wish = wish
    member.heardAt = this.#now
    if (chunks > 0) this.#progress(claim, member, chunks)
    if (wish === 'done' || wish === 'unable') this.#giveBack(claim, member)
    this.#look(claim)
    // Whoever waits hears how far the head has come.
    if (!hasMore || isNew) this.#tell(claim, member, this.#roleOf(claim, member), isNew ? this.#numbers.named : sought)
  }

  /** Whoever brings a chunk, the head or its racer, is the head. */
  #progress(claim: Claim, member: Member, chunks: number): void {
    const { head, racer } = claim
    if (member !== head && member !== racer) return
    const { headLateMs } = this.#numbers
    const took = (this.#now - claim.headAt) / chunks
    if (member === racer) {
      if (head !== undefined) this.#toEnd(claim, head)
    } else if (racer !== undefined) {
      claim.patience = Math.max(claim.patience, took) * 2
      this.#toEnd(claim, racer)
    } else if (took < headLateMs / 2) claim.patience = headLateMs
    claim.racer = undefined
    claim.headAt = this.#now
    if (member === head) return
    claim.head = member
    this.#tell(claim, member, 'head', 0)
  }

  /** Grants turns that are due. */
  #look(claim: Claim): void {
    this.#expire(claim)
    const now = this.#now
    if (claim.head === undefined && claim.racer !== undefined) {
      this.#grant(claim, claim.racer)
      claim.racer = undefined
    }
    if (claim.head === undefined) {
      const next = this.#isAnywhere(claim) ? this.#hungry(claim) : this.#first(claim)
      if (next !== undefined) this.#grant(claim, next)
      return
    }
    if (claim.racer !== undefined && now >= claim.racerAt + claim.patience) {
      // Neither brings anything: it is upstream that takes its time, and a third reader would make it slower.
      claim.patience *= 2
      this.#toEnd(claim, claim.racer)
      claim.racer = undefined
    }
    if (claim.racer !== undefined || now < claim.headAt + claim.patience) return
    const racer = this.#hungry(claim)
    if (racer === undefined) return
    claim.racer = racer
    claim.racerAt = now
    this.#tell(claim, racer, 'racer', 0)
  }

  #grant(claim: Claim, member: Member): void {
    claim.head = member
    claim.headAt = this.#now
    this.#tell(claim, member, 'head', 0)
  }

  #isAnywhere({ members }: Claim): boolean {
    for (const { wish } of members.values()) if (wish === 'done') return true
    return false
  }

  #first({ members }: Claim): Member | undefined {
    for (const member of members.values()) if (member.wish === 'part' || member.wish === 'hungry') return member
    return undefined
  }

  #hungry({ members, head }: Claim): Member | undefined {
    for (const member of members.values()) if (member.wish === 'hungry' && member !== head) return member
    return undefined
  }

  #roleOf({ head, racer }: Claim, member: Member): Role {
    return member === head ? 'head' : member === racer ? 'racer' : 'none'
  }

  #giveBack(claim: Claim, member: Member): void {
    if (claim.head === member) claim.head = undefined
    if (claim.racer === member) claim.racer = undefined
  }

  #toEnd(claim: Claim, member: Member): void {
    claim.members.delete(member.peer)
    claim.members.set(member.peer, member)
    this.#tell(claim, member, 'none', 0)
  }

  #leave(claim: Claim, peer: PeerId): void {
    const member = claim.members.get(peer)
    if (member === undefined) return
    claim.members.delete(peer)
    this.#giveBack(claim, member)
    if (claim.members.size === 0) this.#claims.delete(claim.blob)
    else this.#look(claim)
  }

  /** Forgets whoever was not heard of for long, and is at the front of the queue. */
  #expire(claim: Claim): void {
    for (const [peer, member] of claim.members) {
      if (this.#now - member.heardAt < 3 * this.#numbers.renewMs) return
      claim.members.delete(peer)
      this.#giveBack(claim, member)
    }
  }

  #bound(claim: Claim): void {
    for (const [peer, member] of claim.members) {
      if (claim.members.size <= MAX_MEMBERS) return
      claim.members.delete(peer)
      this.#giveBack(claim, member)
    }
  }

  #claim(blob: BlobId): Claim {
    const claim = this.#claims.get(blob) ?? {
      blob,
      members: new Map(),
      head: undefined,
      racer: undefined,
      headAt: this.#now,
      racerAt: this.#now,
      patience: this.#numbers.headLateMs,
    }
    this.#claims.delete(blob)
    this.#claims.set(blob, claim)
    const [oldest] = this.#claims.keys()
    if (this.#claims.size > MAX_CLAIMS && oldest !== undefined) this.#claims.delete(oldest)
    return claim
  }

  #tell(claim: Claim, member: Member, role: Role, named: number): void {
    const members = named === 0 ? [] : this.#name(claim, member, named)
    this.#tellings.push({
      to: member.peer,
      turn: { blob: claim.blob, role, brought: claim.head?.brought ?? 0, members },
    })
  }

  /** The head, and others at random. */
  #name({ members, head }: Claim, asker: Member, count: number): PeerId[] {
    const peers = [...members.keys()].filter((peer) => peer !== asker.peer)
    const named = head === undefined || head === asker ? [] : [head.peer]
    while (named.length < count && peers.length > 0) {
      const at = Math.floor(this.#random() * peers.length)
      const peer = peers[at]
      peers[at] = peers[peers.length - 1] ?? ''
      peers.pop()
      if (peer !== undefined && peer !== head?.peer) named.push(peer)
    }
    return named
  }
}
