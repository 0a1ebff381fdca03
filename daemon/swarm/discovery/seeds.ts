import { setTimeout as delay } from 'node:timers/promises'
import type { Connection } from '@libp2p/interface'
import type { Multiaddr } from '@multiformats/multiaddr'
import type { Logger } from 'pino'
import type { PeerId } from '../ports.ts'
import { placeOf, resolveSeed, type Seed } from './addresses.ts'
import {
  backOff,
  DIAL_DEADLINE_MS,
  jitter,
  LONGEST_RETRY_ALONE_MS,
  LONGEST_SEED_RETRY_MS,
  LOST_RETRY_MS,
  SEED_CHECK_MS,
} from './constants.ts'
import { type SeedOutcome, SeedWatch } from './seed-watch.ts'

interface SeedsOptions {
  readonly seeds: readonly Seed[]
  readonly dial: (address: Multiaddr, signal: AbortSignal) => Promise<Connection>
  readonly isConnected: (peer: PeerId) => boolean
  readonly connectionCount: () => number
  /** Whether seeds that are not connected are to be dialled. */
  readonly areNeeded: () => boolean
  /** Whether an address is this node's own. */
  readonly isSelf: (address: Multiaddr) => boolean
  readonly log: Logger
}

/** Keeps the node connected to its seeds, for as long as it runs: one loop each. */
export class Seeds {
  readonly #options: SeedsOptions
  readonly #stopped = new AbortController()
  readonly #wakers = new Map<Seed, AbortController>()
  /** Who answered at an address. */
  readonly #peers = new Map<Seed, Map<string, PeerId>>()
  readonly watch: SeedWatch
  #hurries = 0
  #loops: Promise<void> = Promise.resolve()

  constructor(options: SeedsOptions) {
    this.#options = options
    const { seeds, connectionCount, log } = options
    this.watch = new SeedWatch({ seeds: seeds.map(({ text }) => text), connectionCount, log })
  }

  start(): void {
    this.#loops = Promise.all(this.#options.seeds.map((seed) => this.#tend(seed))).then(() => {})
  }

  async stop(): Promise<void> {
    this.#stopped.abort()
    this.watch.stop()
    await this.#loops
  }

  /** Whether a peer has answered at the address of a seed. */
  isSeed(peer: PeerId): boolean {
    for (const peers of this.#peers.values()) for (const one of peers.values()) if (one === peer) return true
    return false
  }

  /** Called when a peer is gone: its seed is dialled soon. */
  lost(peer: PeerId): void {
    for (const [seed, peers] of this.#peers) if ([...peers.values()].includes(peer)) this.#wakers.get(seed)?.abort()
  }

  /** The network has changed: all are dialled at once that are not connected. */
  hurry(): void {
    this.#hurries++
    for (const waker of this.#wakers.values()) waker.abort()
  }

  async #tend(seed: Seed): Promise<void> {
    let failures = 0
    while (!this.#stopped.signal.aborted) {
      const hurries = this.#hurries
      const outcome = await this.#connect(seed)
      failures = outcome.kind === 'failed' ? failures + 1 : 0
      if (!this.#stopped.signal.aborted) this.watch.note(seed.text, outcome)
      if (outcome.kind === 'failed' && failures === 1 && !this.#stopped.signal.aborted) {
        this.#options.log.warn({ seed: seed.text, reason: outcome.problem }, 'a seed is not reached; trying again')
      }
      // What failed may have begun before the network changed.
      const isLate = hurries !== this.#hurries
      const longest = this.#options.connectionCount() === 0 ? LONGEST_RETRY_ALONE_MS : LONGEST_SEED_RETRY_MS
      const pause = failures === 0 ? jitter(SEED_CHECK_MS) : backOff(failures, longest)
      await this.#pause(seed, isLate ? jitter(LOST_RETRY_MS) : pause)
    }
  }

  /** Waits, unless the seed's peer is lost in the meantime. */
  async #pause(seed: Seed, ms: number): Promise<void> {
    const waker = new AbortController()
    this.#wakers.set(seed, waker)
    const either = AbortSignal.any([waker.signal, this.#stopped.signal])
    const slept = await delay(ms, true, { signal: either }).catch(() => false)
    if (!slept) await delay(jitter(LOST_RETRY_MS), undefined, { signal: this.#stopped.signal }).catch(() => {})
  }

  /** Dials every address of the seed that is not connected. */
  async #connect(seed: Seed): Promise<SeedOutcome> {
    let addresses: readonly Multiaddr[]
    try {
      addresses = (await resolveSeed(seed)).filter((address) => !this.#options.isSelf(address))
    } catch (error) {
      return { kind: 'failed', problem: (error as Error).message }
    }
    const before = this.#peers.get(seed)
    const after = new Map<string, PeerId>()
    this.#peers.set(seed, after)
    const failures = await Promise.all(
      shuffled(addresses).map((address) => this.#connectTo(address, before?.get(placeOf(address)), after)),
    )
    const [first] = failures
    // nothing but ourselves is at a seed that is its own fleet's name, until a second node starts
    if (failures.length === 0) return { kind: 'self' }
    return first === undefined || failures.includes(undefined)
      ? { kind: 'reached' }
      : { kind: 'failed', problem: first }
  }

  async #connectTo(
    address: Multiaddr,
    peer: PeerId | undefined,
    found: Map<string, PeerId>,
  ): Promise<string | undefined> {
    const { isConnected, areNeeded, dial, log } = this.#options
    try {
      const connected = peer !== undefined && isConnected(peer)
      if (!connected && !areNeeded()) return undefined
      const deadline = AbortSignal.any([this.#stopped.signal, AbortSignal.timeout(DIAL_DEADLINE_MS)])
      const remote = connected ? peer : (await dial(address, deadline)).remotePeer.toString()
      found.set(placeOf(address), remote)
      if (!connected) log.info({ peer: remote, address: address.toString() }, 'connected to a seed')
      return undefined
    } catch (error) {
      return (error as Error).message
    }
  }
}

/** Not every node of a large fleet is to dial the same ones first. */
function shuffled<T>(items: readonly T[]): T[] {
  return items
    .map((item) => ({ item, order: Math.random() }))
    .sort((a, b) => a.order - b.order)
    .map(({ item }) => item)
}
