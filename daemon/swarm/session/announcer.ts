import { Bitfield } from '../../verify/bitfield.ts'
import type { PeerId } from '../peer-id.ts'
import {
  LIST_MS,
  LIST_MS_EACH,
  MIN_OVERTAKEN,
  MIN_UPLOADS,
  OFFER_LAST_MS,
  OFFER_LIMIT_MS,
  OFFER_MS,
  OFFER_UNASKED_MS,
  ONLY_PEER_OFFERS,
  OTHERS_PART,
  OVERTAKEN_TIMES,
  SCARCE_UPLOADS,
  SPREAD_TIMES,
} from './constants.ts'
import type { Offers } from './offers.ts'
import type { PeerTable } from './peer-table.ts'

/** Chunks that one peer is to be told of, with the checkpoints that it was not told yet; these alone, where there are none. */
interface Announcement {
  readonly peer: PeerId
  readonly chunks: readonly number[]
}

export interface AnnouncePlan {
  readonly tell: readonly Announcement[]
  /** When to ask again, if nothing happens before; in ms of the caller's clock. */
  readonly wakeAt: number
}

/** A chunk that some peers may lack and were not told of. */
interface Fresh {
  readonly chunk: number
  /** Times that it was offered, but to those who left. */
  told: number
  /** Whether nobody else has it to give on: it came from upstream, or no peer had it when it was told first. */
  isRare: boolean | undefined
  /** Who was offered it alone and has not got it yet. */
  offeredTo: PeerId | undefined
  /** When it was told last, and how many chunks that nobody has had been delivered by then. */
  toldAt: number
  deliveredBefore: number
}

interface AnnouncerOptions {
  /** Its digest, or another name by which the node tells its blobs apart. */
  readonly blob: string
  readonly held: Bitfield
  readonly peers: PeerTable
  /** Of all blobs of this node. */
  readonly offers: Offers
}

/**
 * Whom to tell of which chunk, and when. If all were told at once, all would ask for the newest chunk at the same moment and
 * each would get it slowly. So a few peers are told, and others when those have been served: each of them has the chunk for
 * the rest by then. What nobody else has is told to one peer only. Peers that have a chunk are not told of it, but for
 * those that would offer it otherwise.
 */
export class Announcer {
  readonly #blob: string
  readonly #held: Bitfield
  readonly #peers: PeerTable
  readonly #offers: Offers
  /** What each peer was told. */
  readonly #told = new Map<PeerId, Bitfield>()
  readonly #replies = new Map<PeerId, number[]>()
  #fresh: Fresh[] = []
  /** Who was not told the newest checkpoints from upstream, and when all were told last. */
  readonly #behind = new Set<PeerId>()
  #listToldAt = Number.NEGATIVE_INFINITY
  /** When each peer got something from here last. */
  readonly #served = new Map<PeerId, number>()
  /** Peers for which others would have waited, until they get something. */
  readonly #slow = new Set<PeerId>()
  /** Chunks that nobody had which were offered and delivered. */
  #delivered = 0
  /** From the offer of a chunk that nobody has until it was sent, in ms, smoothed. */
  #deliverMs = OFFER_MS

  constructor({ blob, held, peers, offers }: AnnouncerOptions) {
    this.#blob = blob
    this.#held = held
    this.#peers = peers
    this.#offers = offers
    for (const chunk of held.indexes()) this.#fresh.push(newFresh(chunk, undefined))
  }

  /**
   * A chunk is held now.
   * @param from the peer that sent it, which is told so: what it has written may wait in its system for a long time;
   *   undefined for upstream
   */
  got(chunk: number, from?: PeerId): void {
    this.#fresh.push(newFresh(chunk, from === undefined))
    // It may have been asked for what it had not offered.
    if (from !== undefined) this.#peers.has(from, chunk)
    for (const peer of this.#told.keys()) {
      this.heard(peer, chunk)
      if (from === undefined) this.#behind.add(peer)
    }
  }

  /**
   * A peer told of a chunk. Where that is held already, the peer is told so, as it would offer it otherwise.
   * @returns whether there is something to tell
   */
  heard(peer: PeerId, chunk: number): boolean {
    this.#offers.drop(peer, this.#blob, chunk)
    if (!this.#held.has(chunk) || this.#peers.get(peer)?.has.has(chunk) !== true) return false
    if (this.#told.get(peer)?.set(chunk) !== true) return false
    const chunks = this.#replies.get(peer)
    if (chunks === undefined) this.#replies.set(peer, [chunk])
    else chunks.push(chunk)
    return true
  }

  /** A peer has got a chunk from here. */
  served(peer: PeerId, chunk: number, now: number): void {
    this.#peers.has(peer, chunk)
    this.#told.get(peer)?.set(chunk)
    if (this.#told.has(peer)) this.#served.set(peer, now)
    this.#slow.delete(peer)
    const fresh = this.#fresh.find((one) => one.chunk === chunk && one.offeredTo === peer)
    if (fresh === undefined) return
    fresh.offeredTo = undefined
    this.#delivered++
    this.#deliverMs += (now - fresh.toldAt - this.#deliverMs) * 0.2
  }

  /** @returns what a new peer is shown; it is told of the rest by and by */
  introduce(peer: PeerId): Bitfield {
    const shown = Bitfield.decode(this.#held.encode(), this.#held.length)
    for (const { chunk, isRare } of this.#fresh) if (isRare ?? !this.#peers.isBeingSpread(chunk)) shown.clear(chunk)
    this.#told.set(peer, Bitfield.decode(shown.encode(), shown.length))
    return shown
  }

  /** It is not told of any more. */
  end(): void {
    this.#offers.forget(this.#blob)
  }

  leave(peer: PeerId): void {
    this.#offers.forget(this.#blob, peer)
    this.#told.delete(peer)
    this.#served.delete(peer)
    this.#slow.delete(peer)
    this.#replies.delete(peer)
    this.#behind.delete(peer)
    for (const fresh of this.#fresh) {
      if (fresh.offeredTo !== peer) continue
      fresh.offeredTo = undefined
      fresh.told = 0
    }
  }

  /**
   * @param free chunks that may be sent in addition to those that are being sent, see {@link Uploads}
   * @param sending chunks of this blob that are being sent
   */
  plan(now: number, free: number, sending: number): AnnouncePlan {
    const tell = new Map(this.#replies)
    this.#replies.clear()
    const only = this.#told.size === 1 ? ONLY_PEER_OFFERS : 0
    // What is sent to fewer is there sooner, and then they have something to give as well.
    const scarce = this.#held.isFull ? 0 : Math.max(0, MIN_UPLOADS - Math.max(this.#held.count, SCARCE_UPLOADS))
    const awaited = this.#offers.awaited(now, this.#blob)
    const own = this.#offers.awaitedOf(this.#blob)
    // No blob waits for what the peers of another one do: each may have one chunk on its way, and of one that still arrives all peers
    // wait for what only this node has.
    const most = this.#held.isFull ? Number.POSITIVE_INFINITY : Math.floor(Math.max(0, free) * OTHERS_PART)
    const others = Math.min(awaited, most)
    const room = Math.max(free + only - scarce - own - others, 1 - sending - own)
    const againAt = room > 0 ? this.#offer(now, room, tell) : Number.POSITIVE_INFINITY
    // Another blob's, too: nobody else tells that there is room again.
    const lapsesAt = this.#fresh.length > 0 ? this.#offers.lapsesAt : Number.POSITIVE_INFINITY
    const wakeAt = Math.min(againAt, lapsesAt, this.#tellList(now, tell))
    return { tell: [...tell].map(([peer, chunks]) => ({ peer, chunks })), wakeAt }
  }

  /** Tells checkpoints to those who are told of no chunk. @returns when that is to be done */
  #tellList(now: number, tell: Map<PeerId, number[]>): number {
    for (const peer of tell.keys()) this.#behind.delete(peer)
    if (this.#behind.size === 0) return Number.POSITIVE_INFINITY
    const at = this.#listToldAt + Math.max(LIST_MS, this.#told.size * LIST_MS_EACH)
    if (now < at) return at
    for (const peer of this.#behind) tell.set(peer, [])
    this.#behind.clear()
    this.#listToldAt = now
    return Number.POSITIVE_INFINITY
  }

  /** Offers up to `room` chunks. @returns when a chunk is to be offered to another peer */
  #offer(now: number, room: number, tell: Map<PeerId, number[]>): number {
    let againAt = Number.POSITIVE_INFINITY
    // What those were offered who do not ask is forgotten some time.
    const deafAt = now + OFFER_UNASKED_MS
    if (this.#told.size > 0 && [...this.#told.keys()].every((peer) => this.#offers.isDeaf(peer)))
      return this.#fresh.length > 0 ? deafAt : againAt
    const done = new Set<Fresh>()
    let left = room
    const overtaken = new Set(this.#fresh.filter((fresh) => this.#isOvertaken(fresh)))
    for (const { offeredTo } of overtaken) if (offeredTo !== undefined) this.#slow.add(offeredTo)
    const busy = new Set([...this.#slow, ...this.#fresh.map(({ offeredTo }) => offeredTo)])
    const rank = (fresh: Fresh) => (overtaken.has(fresh) ? -1 : fresh.told)
    this.#fresh.sort((a, b) => rank(a) - rank(b))
    for (const fresh of this.#fresh) {
      if (left <= 0) break
      const { chunk } = fresh
      fresh.isRare ??= !this.#peers.isBeingSpread(chunk)
      // Who has it now has it for the others.
      const at = fresh.toldAt + this.#timeToOther(fresh)
      if (fresh.told > 0 && fresh.isRare && now < at && !overtaken.has(fresh)) {
        againAt = Math.min(againAt, at)
        continue
      }
      const peer = this.#someoneLacking(chunk, busy)
      if (peer === undefined) {
        if (this.#told.size > 0) done.add(fresh)
        continue
      }
      if (this.#offers.isDeaf(peer)) {
        againAt = Math.min(againAt, deafAt)
        continue
      }
      left--
      fresh.told++
      fresh.toldAt = now
      fresh.deliveredBefore = this.#delivered
      fresh.offeredTo = fresh.isRare ? peer : undefined
      if (fresh.isRare) busy.add(peer)
      this.#told.get(peer)?.set(chunk)
      this.#offers.make(peer, this.#blob, chunk, now)
      const chunks = tell.get(peer)
      if (chunks === undefined) tell.set(peer, [chunk])
      else chunks.push(chunk)
    }
    if (done.size > 0) this.#fresh = this.#fresh.filter((fresh) => !done.has(fresh))
    return againAt
  }

  /** From the offer of a chunk that nobody has until it is offered to another peer, in ms. */
  #timeToOther({ chunk, offeredTo }: Fresh): number {
    const patience = Math.min(Math.max(OFFER_MS, 4 * this.#deliverMs), OFFER_LIMIT_MS)
    if (offeredTo !== undefined && this.#offers.isUnasked(offeredTo, this.#blob, chunk))
      return Math.min(patience, this.#held.isFull ? OFFER_LAST_MS : OFFER_UNASKED_MS)
    // What arrives meanwhile is needed more.
    return !this.#held.isFull && this.#peers.copies(chunk) > 0 ? patience * SPREAD_TIMES : patience
  }

  /** Whether who was offered a chunk alone gets nothing, so that all others wait for it: a slow line, or none at all. */
  #isOvertaken({ chunk, offeredTo, toldAt, deliveredBefore }: Fresh): boolean {
    if (offeredTo === undefined || (this.#served.get(offeredTo) ?? 0) > toldAt) return false
    const others = this.#delivered - deliveredBefore
    return others >= Math.max(MIN_OVERTAKEN, this.#told.size * OVERTAKEN_TIMES) && !this.#peers.isBeingSpread(chunk)
  }

  /**
   * Of those that may lack a chunk the one whose turn it is; but those that have not got yet what only they were offered after
   * all others, and last of all who asks for nothing.
   */
  #someoneLacking(chunk: number, busy: ReadonlySet<PeerId | undefined>): PeerId | undefined {
    let best: PeerId | undefined
    let bestRank = Number.POSITIVE_INFINITY
    for (const [peer, told] of this.#told) {
      if (told.has(chunk) || this.#peers.get(peer)?.has.has(chunk) === true) continue
      const rank = this.#offers.isDeaf(peer) ? 2 : Number(busy.has(peer))
      if (rank > bestRank) continue
      if (best !== undefined && rank === bestRank && this.#offers.compare(peer, best) >= 0) continue
      best = peer
      bestRank = rank
    }
    return best
  }
}

function newFresh(chunk: number, isRare: boolean | undefined): Fresh {
  return { chunk, told: 0, toldAt: 0, deliveredBefore: 0, isRare, offeredTo: undefined }
}
