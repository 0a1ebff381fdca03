import type { Logger } from 'pino'
import { jitter } from '../discovery/constants.ts'
import { positionOfPeer } from '../find/key-space.ts'
import type { PeerId } from '../ports.ts'
import {
  DIAL_MS,
  LARGE_MS,
  LOSSES_MS,
  MAX_LOOKUPS,
  MAX_PEERS,
  MAX_RESTING,
  NEAR_ASKED,
  NEW_MS,
  PARALLEL_DIALS,
  REST_MS,
  ROUND_MS,
  SOON_MS,
  USE_MS,
} from './constants.ts'
import type { Found } from './message.ts'
import {
  estimateOf,
  excessOf,
  isWanted,
  lackingBuckets,
  nearCount,
  someNear,
  somewhereIn,
  type TablePeer,
} from './table.ts'

interface NeighbourhoodOptions {
  readonly self: PeerId
  /** Connections of this node at most. */
  readonly max: number
  /** When something of a blob moved with a peer last, in ms; undefined where nothing has. */
  readonly usedAt: (peer: PeerId) => number | undefined
  readonly isSeed: (peer: PeerId) => boolean
  /** Whether a peer can be asked to pass something on. */
  readonly isKnown: (peer: PeerId) => boolean
  /** Where a peer's connection comes from; undefined where it has not said hello. */
  readonly addressOf: (peer: PeerId) => string | undefined
  /** The nodes nearest to a position, without this one, as a lookup finds them, and as `others` know, which are connected peers. */
  readonly nearest: (to: number, count: number, others?: readonly PeerId[]) => Promise<readonly Found[]>
  readonly dial: (peer: PeerId, addresses: readonly string[], signal: AbortSignal) => Promise<unknown>
  readonly admits: (peer: PeerId) => boolean
  /** Ends the connection with a peer, after it was told that there is no room. */
  readonly leave: (peer: PeerId) => Promise<void>
  /** The swarm is found to be larger than this node's connections, or no longer. */
  readonly onChange: (isLarge: boolean) => void
  readonly log: Logger
}

/**
 * Keeps the number of connections within its bound. Where all peers fit, it does nothing. Where they don't, the swarm is *large*: then it
 * keeps those whom `table.ts` wants, looks for those that are missing, and leaves the rest. A peer that was left, or has left this node,
 * is let alone for a time, so that nobody is dialled and cut in turn.
 */
export class Neighbourhood {
  readonly #options: NeighbourhoodOptions
  readonly #position: number
  readonly #peers = new Map<PeerId, { readonly position: number; readonly connectedAt: number; isLarge: boolean }>()
  /** Until when a peer is let alone, in ms; the oldest first. */
  readonly #resting = new Map<PeerId, number>()
  /** Those that are being left, until the connection has ended. */
  readonly #leaving = new Set<PeerId>()
  /** When peers were lost of themselves, in ms, the oldest first. */
  readonly #losses: number[] = []
  readonly #startedAt = performance.now()
  readonly #stopped = new AbortController()
  #isLarge = false
  /** When there was no room for a peer last, in ms. */
  #fullAt = Number.NEGATIVE_INFINITY
  #judge: NodeJS.Timeout | undefined
  #round: NodeJS.Timeout | undefined
  #roundAt = Number.POSITIVE_INFINITY
  /** Until the next round, in ms: longer with each one that connects to nobody. */
  #pauseMs = SOON_MS
  #running: Promise<void> = Promise.resolve()

  constructor(options: NeighbourhoodOptions) {
    this.#options = options
    this.#position = positionOfPeer(options.self)
  }

  /** Whether the swarm has more nodes than this node may have connections. */
  get isLarge(): boolean {
    return this.#isLarge
  }

  get size(): number {
    return this.#peers.size
  }

  /** Part of this node's peers that goes in a minute, of themselves. */
  get lossesPerMinute(): number {
    const now = performance.now()
    while (this.#losses.length > 0 && (this.#losses[0] ?? now) < now - LOSSES_MS) this.#losses.shift()
    const minutes = Math.max(1, Math.min(LOSSES_MS, now - this.#startedAt) / 60_000)
    return this.#losses.length / minutes / Math.max(1, this.#peers.size)
  }

  async stop(): Promise<void> {
    this.#stopped.abort()
    clearTimeout(this.#judge)
    clearTimeout(this.#round)
    await this.#running
  }

  connected(peer: PeerId): void {
    const { max } = this.#options
    this.#peers.set(peer, { position: positionOfPeer(peer), connectedAt: performance.now(), isLarge: false })
    this.#resting.delete(peer)
    if (this.#peers.size <= max) return
    this.#noRoom()
    this.#judgeIn(0)
  }

  /** @returns whether it was left, or has left, for lack of room: it is there still */
  disconnected(peer: PeerId): boolean {
    const wasNeeded = this.#isLarge && this.#isNeeded(peer)
    const isKnown = this.#peers.delete(peer)
    this.#leaving.delete(peer)
    const isResting = this.#isResting(peer)
    if (isKnown && !isResting) {
      this.#losses.push(performance.now())
      if (this.#losses.length > MAX_RESTING) this.#losses.shift()
    }
    if (wasNeeded) this.#roundIn(jitter(SOON_MS))
    return isResting
  }

  /** A peer has said that it leaves this node for lack of room. It is one voice of many: see {@link heardLarge}. */
  full(peer: PeerId): void {
    this.#rest(peer)
    this.heardLarge(peer, true)
  }

  /** A peer says whether the swarm is large. What most say is so: a node that is new need not connect to too many to find out. */
  heardLarge(peer: PeerId, isLarge: boolean): void {
    const own = this.#peers.get(peer)
    if (own === undefined) return
    own.isLarge = isLarge
    if (isLarge && this.#saysLarge() * 2 > this.#peers.size) this.#noRoom()
  }

  /** Whether discovery is to connect to a peer. */
  mayDial(peer: PeerId): boolean {
    const { max } = this.#options
    if (this.#peers.has(peer) || this.#isResting(peer)) return false
    if (!this.#isLarge && this.#peers.size < max) return true
    if (!this.#isLarge) this.#noRoom()
    return isWanted(this.#position, this.#places(), max, positionOfPeer(peer))
  }

  /** Whether seeds are to be dialled: nodes of a large swarm that have their place leave them to those that are new. */
  get needsSeeds(): boolean {
    return !this.#isLarge || this.#peers.size < nearCount(this.#options.max)
  }

  #places(): readonly { readonly peer: PeerId; readonly position: number }[] {
    const known = [...this.#peers].filter(([peer]) => this.#options.isKnown(peer))
    return known.map(([peer, { position }]) => ({ peer, position }))
  }

  /** Whether a connected peer is near, or one of the few contacts in its bucket. */
  #isNeeded(peer: PeerId): boolean {
    const own = this.#peers.get(peer)
    if (own === undefined) return false
    const others = this.#places().filter((other) => other.peer !== peer)
    return isWanted(this.#position, others, this.#options.max, own.position)
  }

  /** How many peers find the swarm large. */
  #saysLarge(): number {
    return [...this.#peers.values()].filter(({ isLarge }) => isLarge).length
  }

  #isResting(peer: PeerId): boolean {
    return (this.#resting.get(peer) ?? 0) > performance.now()
  }

  #rest(peer: PeerId): void {
    this.#resting.delete(peer)
    this.#resting.set(peer, performance.now() + jitter(REST_MS))
    const [oldest] = this.#resting.keys()
    if (this.#resting.size > MAX_RESTING && oldest !== undefined) this.#resting.delete(oldest)
  }

  #noRoom(): void {
    this.#fullAt = performance.now()
    if (this.#isLarge || this.#stopped.signal.aborted) return
    this.#isLarge = true
    const { max, log, onChange } = this.#options
    log.info(
      { connections: this.#peers.size, max },
      'the swarm is larger than swarm.maxConnections: peers are reached by way of others',
    )
    onChange(true)
    this.#roundIn(jitter(SOON_MS))
  }

  #judgeIn(ms: number): void {
    if (this.#stopped.signal.aborted) return
    this.#judge ??= setTimeout(() => {
      this.#judge = undefined
      this.#trim()
    }, ms)
  }

  /** Leaves those for whom there is no room. */
  #trim(): void {
    const { max, leave, log, isSeed, isKnown, usedAt, addressOf } = this.#options
    const now = performance.now()
    const peers: TablePeer[] = [...this.#peers]
      .filter(([peer]) => !this.#leaving.has(peer))
      .map(([peer, place]) => {
        const used = usedAt(peer)
        const isInUse = used !== undefined && now - used < USE_MS
        const facts = { isSeed: isSeed(peer), isKnown: isKnown(peer), address: addressOf(peer) }
        return { peer, ...place, usedAt: used, isInUse, ...facts }
      })
    for (const peer of excessOf(this.#position, peers, max, now)) {
      this.#leaving.add(peer)
      this.#rest(peer)
      leave(peer).catch((error) => log.debug({ peer, err: error }, 'a peer was not left in order'))
    }
    // Some were spared because they are new.
    if (this.#peers.size - this.#leaving.size > max) this.#judgeIn(NEW_MS)
  }

  #roundIn(ms: number): void {
    const at = performance.now() + ms
    if (this.#stopped.signal.aborted || at >= this.#roundAt) return
    clearTimeout(this.#round)
    this.#roundAt = at
    this.#round = setTimeout(() => {
      this.#roundAt = Number.POSITIVE_INFINITY
      this.#running = this.#running
        .then(() => this.#look())
        .catch((error) => this.#options.log.debug({ err: error }, 'a look for neighbours ended early'))
        .then(() => this.#isLarge && this.#roundIn(jitter(this.#pauseMs)))
        .then(() => {})
    }, ms)
  }

  /** Looks up who is near, and contacts for the buckets that lack some, and connects to those that are wanted. */
  async #look(): Promise<void> {
    const { nearest, max, log, onChange } = this.#options
    const isRecent = performance.now() - this.#fullAt < LARGE_MS
    if (!isRecent && estimateOf(this.#position, this.#places(), max) < max) {
      this.#isLarge = false
      log.info({ connections: this.#peers.size }, 'the swarm is no larger than swarm.maxConnections any more')
      onChange(false)
      await this.#meetAll()
      return
    }
    // Whoever has just connected knows others.
    const before = this.#peers.size
    this.#pauseMs = Math.min(ROUND_MS, 2 * this.#pauseMs)
    // A lookup ends at one node. Two whose lookups end apart would never meet, so near peers are asked as well, as in Kademlia.
    const others = someNear(this.#position, this.#places(), max, NEAR_ASKED, Math.random).map(({ peer }) => peer)
    await this.#meet(await nearest(this.#position, Math.min(MAX_PEERS, nearCount(max) + 4), others))
    const buckets = lackingBuckets(this.#position, this.#places(), max).slice(0, MAX_LOOKUPS)
    for (const bucket of buckets) {
      if (this.#stopped.signal.aborted) return
      await this.#meet(await nearest(somewhereIn(this.#position, bucket, Math.random()), 3))
    }
    // Where dials fail, nodes are busy, and handshakes that are given up keep them so.
    if (this.#peers.size > before) this.#pauseMs = 2 * SOON_MS
  }

  /** All are to be connected again, and the DHT has met nobody since the swarm was large. What this does not find, its walks do. */
  async #meetAll(): Promise<void> {
    const { nearest } = this.#options
    await this.#meet(await nearest(this.#position, MAX_PEERS))
    for (let bucket = 0; bucket < MAX_LOOKUPS && !this.#stopped.signal.aborted; bucket++)
      await this.#meet(await nearest(somewhereIn(this.#position, bucket, Math.random()), MAX_PEERS))
  }

  async #meet(found: readonly Found[]): Promise<void> {
    const { dial, admits, log } = this.#options
    const waiting = found.values()
    const dialNext = async () => {
      for (const { peer, addresses } of waiting) {
        if (this.#stopped.signal.aborted) return
        if (addresses.length === 0 || !admits(peer) || !this.mayDial(peer)) continue
        await dial(peer, addresses, AbortSignal.any([this.#stopped.signal, AbortSignal.timeout(DIAL_MS)])).catch(
          (error) => log.debug({ peer, err: error }, 'a neighbour is not reached'),
        )
      }
    }
    await Promise.all(Array.from({ length: PARALLEL_DIALS }, dialNext))
  }
}
