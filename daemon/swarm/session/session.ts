import type { Bitfield } from '../../verify/bitfield.ts'
import { quarterBytes as chunkBytes } from '../../verify/quarter.ts'
import {
  LEAST_REQUESTS,
  MAX_CHUNKS_UNDER_WAY,
  MAX_REQUESTS,
  RATE_WINDOW_MS,
  REQUESTS_PER_PEER,
  SILENT_CHUNKS,
  SOURCE_MS,
  STALL_MS,
  URGENT_REQUESTS,
} from './constants.ts'
import type { LinePace } from './line-pace.ts'
import { PeerTable } from './peer-table.ts'
import { type Offer, type Pick, pick } from './picker.ts'
import type { Plan, Room } from './plan.ts'
import { type ChunkRequest, type Limits, limitsOf, type Running, survey } from './survey.ts'

export type { ChunkRequest } from './survey.ts'

/** How a request to a peer ended; the chunks that it brought were told one by one before. */
export type RequestEnd = 'done' | 'busy' | 'absent' | 'failed' | 'cancelled'

/** Of an only session. */
const ROOM = { budget: MAX_CHUNKS_UNDER_WAY, requests: MAX_REQUESTS }

const NOTHING: ReadonlySet<number> = new Set()

interface SessionOptions {
  /** Chunks that are held; the caller sets bits before it tells of them. */
  readonly held: Bitfield
  /** 0 up to 1. */
  readonly random?: () => number
  /** Of all sessions of this node. */
  readonly pace: LinePace
  /** The time at its beginning, in ms of the session's clock. */
  readonly now: number
}

/**
 * One blob being fetched from its peers: who has what, what is under way, what is late. It decides and does nothing: time and
 * network are the caller's, so that the simulator runs the same code.
 */
export class Session {
  readonly peers: PeerTable
  readonly #held: Bitfield
  readonly #random: () => number
  readonly #pace: LinePace
  readonly #running = new Map<number, Running>()
  readonly #ranks: Uint32Array
  #lastId = 0
  #verifiable = 0
  #urgent: readonly number[] = []
  /** Typical time of one chunk in ms, smoothed. */
  #chunkMs: number | undefined
  /** When time alone changes what is to be done. */
  #wakes = 0
  #limits: Limits = limitsOf(undefined, 0)
  #now: number
  /** When peers last sent anything. */
  #progressAt: number
  #heldBefore = 0
  #peersBefore = 0
  #versionBefore = 0
  /** Requests that it had room for and did not begin. */
  #leftOver = 0
  /** Whether something else happened that may change what is to be done. */
  #hasChanged = true

  constructor({ held, random = Math.random, pace, now }: SessionOptions) {
    this.#now = now
    this.#progressAt = now
    this.#held = held
    this.#random = random
    this.#pace = pace
    this.peers = new PeerTable(held)
    this.#ranks = Uint32Array.from({ length: held.length }, () => Math.floor(random() * 2 ** 32))
  }

  /** Chunks below this can be verified. */
  get verifiable(): number {
    return this.#verifiable
  }

  set verifiable(chunks: number) {
    if (chunks === this.#verifiable) return
    if (this.#verifiable === 0) this.#progressAt = this.#now
    this.#verifiable = chunks
    this.#hasChanged = true
  }

  /** Chunks that clients wait for, most urgent first. */
  set urgent(chunks: readonly number[]) {
    if (chunks.length === 0 && this.#urgent.length === 0) return
    this.#urgent = chunks
    this.#hasChanged = true
  }

  get requests(): ReadonlyMap<number, ChunkRequest> {
    return this.#running
  }

  /** Whether there is nothing that any peer could be asked for: what can be had is held or under way. */
  get isStarved(): boolean {
    return !this.#canAsk((chunk) => this.peers.copies(chunk) > 0)
  }

  /** Whether there is nothing that any peer could be expected to give. */
  get isRefused(): boolean {
    return !this.#canAsk((chunk) => this.peers.expects(chunk))
  }

  #canAsk(isThere: (chunk: number) => boolean): boolean {
    const asked = new Set<number>()
    for (const { at, first, count } of this.#running.values()) {
      for (let chunk = at; chunk < first + count; chunk++) asked.add(chunk)
    }
    for (let chunk = this.#held.firstMissing(); chunk < this.#verifiable; chunk = this.#held.firstMissing(chunk + 1)) {
      if (!asked.has(chunk) && isThere(chunk)) return true
    }
    return false
  }

  /** Whether a chunk can be expected from peers: one has it, or there is one that offers chunk after chunk. */
  expects(chunk: number): boolean {
    if (chunk >= this.#verifiable) return false
    return this.peers.expects(chunk) || (!this.#isSilentFor(SOURCE_MS, this.#now) && this.peers.hasSource)
  }

  /**
   * Whether it is more than slowness that nothing comes: nobody is known who has it or fetches it, or it has been so for longer
   * than this node's line would take.
   * @param isLineIdle whether nothing is under way to this node, of other blobs neither
   */
  isQuiet(now: number, isLineIdle: boolean): boolean {
    return this.peers.isHolderGone || isLineIdle || this.#isSilentFor(0, now)
  }

  #isSilentFor(leastMs: number, now: number): boolean {
    return now - this.#progressAt >= Math.max(leastMs, this.#pace.chunkMs(now) * SILENT_CHUNKS)
  }

  /** Bytes of a request arrived. */
  progress(id: number, now: number): void {
    const request = this.#running.get(id)
    if (request === undefined) return
    request.lastByteAt = now
    this.#progressAt = now
  }

  /** A chunk of a request arrived and was found right. */
  arrived(id: number, bytes: number, now: number): void {
    const request = this.#running.get(id)
    if (request === undefined) return
    const peer = this.peers.get(request.peer)
    const ms = now - request.since
    this.#progressAt = now
    if (peer !== undefined) this.peers.measured(peer, bytes, ms)
    if (bytes === chunkBytes) this.#pace.arrived(ms, now)
    this.#chunkMs = this.#chunkMs === undefined ? ms : this.#chunkMs * 0.8 + ms * 0.2
    request.at++
    request.since = now
    request.lastByteAt = now
  }

  ended(id: number, end: RequestEnd, now: number): void {
    const request = this.#running.get(id)
    if (request === undefined) return
    this.#running.delete(id)
    this.#hasChanged = true
    const peer = this.peers.get(request.peer)
    if (peer === undefined) return
    peer.load--
    if (end === 'busy') this.peers.busy(peer, now, this.#random())
    if (end === 'failed') this.peers.failed(peer, now)
    if (end === 'cancelled' && now - request.lastByteAt > this.#limits.dead) {
      // It takes requests and sends nothing while something comes from others: whatever the reason, it is of no use.
      if (Math.max(this.#progressAt, this.#pace.receivedAt) - request.lastByteAt > STALL_MS) this.peers.giveUp(peer)
      // It may be this node's own line. However many requests have died of it, it is one failure.
      else if (now >= peer.restUntil) this.peers.failed(peer, now)
    }
    if (end === 'absent') {
      for (let chunk = request.at; chunk < request.first + request.count; chunk++) this.peers.lacks(peer.id, chunk)
    }
  }

  /** Decides what to ask for. What it starts counts as under way until `ended` is told. */
  plan(now: number, room: Room = { ...ROOM, running: this.#running.size }): Plan {
    const { budget, requests: left } = room
    this.#now = now
    const spare = this.#urgent.length > 0 ? URGENT_REQUESTS : 0
    const running = this.#running.size
    const requests = Math.max(Math.min(left, MAX_REQUESTS - running), LEAST_REQUESTS - running)
    // Most calls are for news that change nothing.
    const chunks = Math.min(budget, MAX_CHUNKS_UNDER_WAY - this.#chunksUnderWay())
    const able = Math.min(requests, chunks)
    const isRoomSame = able <= this.#leftOver && this.peers.version === this.#versionBefore
    const isSame =
      this.#held.count === this.#heldBefore && this.peers.size === this.#peersBefore && (able <= 0 || isRoomSame)
    if (isSame && !this.#hasChanged && now < this.#wakes) return { start: [], cancel: [], wakeAt: this.#wakes }
    this.#hasChanged = false
    this.#heldBefore = this.#held.count
    this.#peersBefore = this.peers.size
    this.#versionBefore = this.peers.version
    this.#limits = limitsOf(this.#chunkMs, this.#pace.shareMs(room.running, now))
    const cancel = [...this.#running.values()].filter((request) => this.#isUseless(request, now)).map(({ id }) => id)
    if (this.#held.isFull) return { start: [], cancel, wakeAt: Number.POSITIVE_INFINITY }
    const picks = requests + spare > 0 && chunks > 0 ? this.#pick(now, requests, chunks) : []
    const start = picks.map((one) => this.#start(one, now))
    this.#leftOver = able - start.length
    this.#wakes = cancel.length > 0 ? now : this.#wakeAt(now)
    return { start, cancel, wakeAt: this.#wakeAt(now) }
  }

  #pick(now: number, requests: number, budget: number): Pick[] {
    const { counted, asked, late, silent } = survey(this.#running, this.#held, this.#limits, now)
    const typical = this.peers.typicalRate
    const offers: Offer[] = []
    for (const peer of this.peers.all()) {
      const slots = REQUESTS_PER_PEER - peer.load
      // What a client waits for does not wait for what is under way.
      if (slots <= (this.#urgent.length > 0 ? -URGENT_REQUESTS : 0) || now < peer.restUntil || silent.has(peer.id))
        continue
      offers.push({
        peer: peer.id,
        has: peer.has,
        asked: asked.get(peer.id) ?? NOTHING,
        slots: Math.max(0, slots),
        run: this.peers.runOf(peer),
        load: peer.load,
        rate: peer.rate ?? typical,
        isLast: this.peers.isLast(peer) || late.has(peer.id),
        isSource: peer.isSource,
      })
    }
    if (offers.length === 0) return []
    const { plenty } = this.peers
    return pick({
      held: this.#held,
      verifiable: this.#verifiable,
      isUnderWay: (chunk) => counted.has(chunk),
      copies: (chunk) => Math.min(this.peers.copies(chunk), plenty),
      isCommon: (chunk) => this.peers.isCommon(chunk, late),
      urgent: this.#urgent,
      // In order, as clients read, what needs nobody's help to be spread.
      rank: (chunk) => (this.peers.copies(chunk) >= plenty ? chunk : (this.#ranks[chunk] ?? 0)),
      offers,
      random: this.#random,
      requests,
      budget,
    })
  }

  #start({ peer, first, count }: Omit<ChunkRequest, 'id'>, now: number): ChunkRequest {
    const id = ++this.#lastId
    const request = { id, peer, first, count }
    this.#running.set(id, { ...request, at: first, since: now, lastByteAt: now })
    const known = this.peers.get(peer)
    if (known !== undefined) known.load++
    return request
  }

  /** All that it would still bring is held, its peer has left, or it is silent for too long. */
  #isUseless(request: Running, now: number): boolean {
    if (this.peers.get(request.peer) === undefined || now - request.lastByteAt > this.#limits.dead) return true
    return this.#held.firstMissing(request.at) >= request.first + request.count
  }

  #chunksUnderWay(): number {
    let chunks = 0
    for (const { at, first, count } of this.#running.values()) chunks += first + count - at
    return chunks
  }

  /** The next moment at which time alone changes what is to be done. */
  #wakeAt(now: number): number {
    const { late, lateAtEnd, stalled, dead } = this.#limits
    let wakeAt = Number.POSITIVE_INFINITY
    const at = (time: number) => {
      if (time > now) wakeAt = Math.min(wakeAt, time)
    }
    // What shares a line is not known any more when nothing came for long.
    if (this.#running.size > 0) at(now + RATE_WINDOW_MS + 1)
    for (const { lastByteAt, since } of this.#running.values()) {
      at(lastByteAt + stalled + 1)
      at(lastByteAt + dead + 1)
      at(since + lateAtEnd + 1)
      at(since + late + 1)
    }
    for (const { restUntil } of this.peers.all()) at(restUntil)
    return wakeAt
  }
}
