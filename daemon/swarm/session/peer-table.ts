import type { Bitfield } from '../../verify/bitfield.ts'
import { quarterBytes as chunkBytes } from '../../verify/quarter.ts'
import type { PeerId } from '../peer-id.ts'
import {
  BUSY_PAUSE_LIMIT_MS,
  BUSY_PAUSE_MS,
  FAILURE_PAUSE_MS,
  LAGGARD_FACTOR,
  MAX_FAILURES,
  MAX_GONE,
  MAX_RUN,
  PLENTY_PART,
  RATE_WEIGHT,
  RUN_MS,
} from './constants.ts'

/** What a session knows of one peer. */
export interface SessionPeer {
  readonly id: PeerId
  readonly has: Bitfield
  /** Requests under way. */
  load: number
  /** Bytes a second of one request, smoothed; undefined before the first chunk. */
  rate: number | undefined
  /** Not to be asked before this time. */
  restUntil: number
  failures: number
  busyPause: number
  /** Whether it fetches the blob from upstream. */
  isHolder: boolean
  /** Whether it has, or had as the holder, all that can be verified, though it may offer it chunk by chunk. */
  isSource: boolean
}

/** The peers of one session and the chunks that they hold. */
export class PeerTable {
  readonly #held: Bitfield
  #version = 0
  #holder: PeerId | undefined
  readonly #peers = new Map<PeerId, SessionPeer>()
  /** Those that have left, the one that did so first at the front: who comes back is no better than before. */
  readonly #gone = new Map<PeerId, SessionPeer>()
  readonly #copies: Uint16Array
  /** The best rate of a peer. */
  #best = 0

  /** @param held what is held here */
  constructor(held: Bitfield) {
    this.#held = held
    this.#copies = new Uint16Array(held.length)
  }

  get size(): number {
    return this.#peers.size
  }

  /** Goes up whenever a peer has more or less of what is not held here. */
  get version(): number {
    return this.#version
  }

  get(id: PeerId): SessionPeer | undefined {
    return this.#peers.get(id)
  }

  all(): IterableIterator<SessionPeer> {
    return this.#peers.values()
  }

  /** Adds a peer, or replaces what it holds. */
  join(id: PeerId, has: Bitfield, isSource = has.isFull): void {
    if (has.length !== this.#held.length)
      throw new RangeError(`peer ${id} speaks of ${has.length} chunks, not ${this.#held.length}`)
    const before = this.#peers.get(id)
    if (before !== undefined) this.#count(before.has, -1)
    this.#count(has, 1)
    const fresh = { id, load: 0, rate: undefined, restUntil: 0, failures: 0, busyPause: 0, isHolder: false, isSource }
    const gone = this.#gone.get(id)
    this.#gone.delete(id)
    this.#peers.set(id, { ...fresh, ...(gone && { ...gone, load: 0, isHolder: false }), ...before, has, isSource })
  }

  /** Says who fetches the blob from upstream. Who did so has what can be verified, and gives it on. */
  setHolder(id: PeerId | undefined): void {
    this.#holder = id
    for (const peer of this.#peers.values()) {
      peer.isHolder = peer.id === id
      peer.isSource ||= peer.isHolder
    }
  }

  /** Whether who fetches it from upstream is not among the peers; where nobody does, whether none of them has, or had, all of it. */
  get isHolderGone(): boolean {
    return this.#holder === undefined ? !this.hasSource : !this.#peers.has(this.#holder)
  }

  get hasSource(): boolean {
    for (const peer of this.#peers.values()) if (peer.isSource) return true
    return false
  }

  /** A peer got a chunk. @returns whether that is new */
  has(id: PeerId, chunk: number): boolean {
    const peer = this.#peers.get(id)
    if (peer?.has.set(chunk) !== true) return false
    this.#copies[chunk] = this.copies(chunk) + 1
    if (!this.#held.has(chunk)) this.#version++
    return true
  }

  /** A peer turned out not to have a chunk. */
  lacks(id: PeerId, chunk: number): void {
    const peer = this.#peers.get(id)
    if (peer?.has.clear(chunk) !== true) return
    this.#copies[chunk] = this.copies(chunk) - 1
    this.#version++
  }

  leave(id: PeerId): void {
    const peer = this.#peers.get(id)
    if (peer === undefined) return
    this.#count(peer.has, -1)
    this.#peers.delete(id)
    this.#gone.set(id, peer)
    const [first] = this.#gone.keys()
    if (first !== undefined && this.#gone.size > MAX_GONE) this.#gone.delete(first)
  }

  copies(chunk: number): number {
    return this.#copies[chunk] ?? 0
  }

  /** Copies from which on a chunk is not rare any more, and is as good as any other one. */
  get plenty(): number {
    return this.size === 1 ? 1 : Math.max(2, Math.ceil(this.size * PLENTY_PART))
  }

  /** Whether a chunk can be expected: who has it is not one that was only busy lately, or given up before. */
  expects(chunk: number): boolean {
    if (this.copies(chunk) === 0) return false
    for (const { has, busyPause, failures } of this.#peers.values()) {
      if (busyPause < BUSY_PAUSE_LIMIT_MS && failures < MAX_FAILURES && has.has(chunk)) return true
    }
    return false
  }

  /** Whether any peer has a chunk that is not held. */
  hasAnyOf(held: Bitfield, verifiable: number): boolean {
    for (let chunk = held.firstMissing(); chunk < verifiable; chunk = held.firstMissing(chunk + 1)) {
      if (this.copies(chunk) > 0) return true
    }
    return false
  }

  /** Whether a peer that has only a part of the blob has a chunk. What peers say that have all from the start is not known. */
  isBeingSpread(chunk: number): boolean {
    if (this.copies(chunk) === 0) return false
    for (const { has } of this.#peers.values()) if (has.has(chunk) && !has.isFull) return true
    return false
  }

  /** Whether a peer is asked only for what nobody else has: the holder of the claim, which many need, and who is slow. */
  isLast(peer: SessionPeer): boolean {
    return peer.isHolder || (peer.rate !== undefined && peer.rate * LAGGARD_FACTOR < this.#best)
  }

  /** Whether a peer has a chunk that is neither a last resort nor one of those who take too long. */
  isCommon(chunk: number, late: ReadonlySet<PeerId>): boolean {
    for (const peer of this.#peers.values()) {
      if (peer.has.has(chunk) && !this.isLast(peer) && !late.has(peer.id)) return true
    }
    return false
  }

  /** A peer sent `bytes` of one request in `ms`. */
  measured(peer: SessionPeer, bytes: number, ms: number): void {
    const rate = (bytes / Math.max(ms, 1)) * 1000
    peer.rate = peer.rate === undefined ? rate : peer.rate + (rate - peer.rate) * RATE_WEIGHT
    peer.failures = 0
    peer.busyPause = 0
    this.#best = Math.max(...[...this.#peers.values()].map(({ rate: known }) => known ?? 0))
  }

  /** The rate of a request to a peer of which nothing is known yet. */
  get typicalRate(): number {
    const known = [...this.#peers.values()].map(({ rate }) => rate).filter((rate) => rate !== undefined)
    return known.length === 0 ? 1 : known.reduce((sum, rate) => sum + rate, 0) / known.length
  }

  /** Chunks in a row that a peer sends in a short time. */
  runOf({ rate }: SessionPeer): number {
    if (rate === undefined) return 1
    return Math.max(1, Math.min(MAX_RUN, Math.floor((rate * RUN_MS) / 1000 / chunkBytes)))
  }

  busy(peer: SessionPeer, now: number, random: number): void {
    peer.busyPause = Math.min(peer.busyPause === 0 ? BUSY_PAUSE_MS : peer.busyPause * 2, BUSY_PAUSE_LIMIT_MS)
    peer.restUntil = now + peer.busyPause * (0.5 + random)
  }

  /** A peer did not give what it said it has. */
  failed(peer: SessionPeer, now: number): void {
    peer.failures++
    peer.restUntil = now + FAILURE_PAUSE_MS * 2 ** (peer.failures - 1)
    if (peer.failures >= MAX_FAILURES) this.giveUp(peer)
  }

  /** A peer is of no use. Should it come back, nothing is expected of it until it gives a chunk. */
  giveUp(peer: SessionPeer): void {
    peer.failures = Math.max(peer.failures, MAX_FAILURES)
    this.leave(peer.id)
  }

  #count(has: Bitfield, by: number): void {
    this.#version++
    for (const chunk of has.indexes()) this.#copies[chunk] = this.copies(chunk) + by
  }
}
