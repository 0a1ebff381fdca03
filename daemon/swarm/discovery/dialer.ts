import type { Logger } from 'pino'
import type { PeerId } from '../ports.ts'
import {
  backOff,
  DIAL_DEADLINE_MS,
  jitter,
  LONGEST_PEER_RETRY_MS,
  LONGEST_RETRY_ALONE_MS,
  LOST_RETRY_MS,
  MAX_DIAL_FAILURES,
  MAX_WANTED,
  PARALLEL_DIALS,
} from './constants.ts'

interface DialerOptions {
  readonly dial: (peer: PeerId, signal: AbortSignal) => Promise<unknown>
  readonly isConnected: (peer: PeerId) => boolean
  readonly connectionCount: () => number
  readonly admits: (peer: PeerId) => boolean
  /** Whether there is room for a connection to a peer. */
  readonly mayDial: (peer: PeerId) => boolean
  readonly log: Logger
}

interface Wanted {
  failures: number
  /** When to dial next, in ms of the monotonic clock. */
  at: number
  dialing: boolean
}

/** Connects to peers that were discovered, and again to those that were lost, a few at a time and with back-off. */
export class Dialer {
  readonly #options: DialerOptions
  readonly #wanted = new Map<PeerId, Wanted>()
  readonly #stopped = new AbortController()
  readonly #running = new Set<Promise<void>>()
  #timer: NodeJS.Timeout | undefined

  constructor(options: DialerOptions) {
    this.#options = options
  }

  /** Whether a peer is neither connected nor about to be. */
  isNew(peer: PeerId): boolean {
    return !this.#wanted.has(peer) && !this.#options.isConnected(peer)
  }

  /** A peer that exists, as mDNS, the DHT or an earlier run say. */
  discovered(peer: PeerId): void {
    this.#want(peer, 0)
  }

  /** A peer that was connected and is gone. */
  lost(peer: PeerId): void {
    this.#want(peer, jitter(LOST_RETRY_MS))
  }

  /** The network has changed: what failed before may succeed now. */
  hurry(): void {
    for (const wanted of this.#wanted.values()) Object.assign(wanted, { failures: 0, at: performance.now() })
    this.#next()
  }

  connected(peer: PeerId): void {
    this.#wanted.delete(peer)
  }

  async stop(): Promise<void> {
    this.#stopped.abort()
    clearTimeout(this.#timer)
    await Promise.all(this.#running)
  }

  #want(peer: PeerId, delayMs: number): void {
    const { mayDial, admits } = this.#options
    if (this.#stopped.signal.aborted || !this.isNew(peer) || !admits(peer) || !mayDial(peer)) return
    for (const oldest of this.#wanted.keys()) {
      if (this.#wanted.size < MAX_WANTED) break
      this.#wanted.delete(oldest)
    }
    this.#wanted.set(peer, { failures: 0, at: performance.now() + delayMs, dialing: false })
    this.#next()
  }

  /** Starts what is due, and sets the timer for what comes after it. */
  #next(): void {
    clearTimeout(this.#timer)
    if (this.#stopped.signal.aborted) return
    const now = performance.now()
    let soonest = Number.POSITIVE_INFINITY
    for (const [peer, wanted] of this.#wanted) {
      if (wanted.dialing || this.#running.size >= PARALLEL_DIALS) continue
      if (wanted.at <= now) this.#dial(peer, wanted)
      else soonest = Math.min(soonest, wanted.at)
    }
    if (soonest < Number.POSITIVE_INFINITY) this.#timer = setTimeout(() => this.#next(), soonest - now)
  }

  #dial(peer: PeerId, wanted: Wanted): void {
    wanted.dialing = true
    const running = this.#attempt(peer, wanted).then(() => {
      this.#running.delete(running)
      this.#next()
    })
    this.#running.add(running)
  }

  async #attempt(peer: PeerId, wanted: Wanted): Promise<void> {
    const { dial, isConnected, connectionCount, admits, mayDial, log } = this.#options
    try {
      if (!isConnected(peer) && admits(peer) && mayDial(peer)) {
        await dial(peer, AbortSignal.any([this.#stopped.signal, AbortSignal.timeout(DIAL_DEADLINE_MS)]))
      }
      this.#wanted.delete(peer)
    } catch (error) {
      wanted.dialing = false
      wanted.failures++
      const isAlone = connectionCount() === 0
      wanted.at = performance.now() + backOff(wanted.failures, isAlone ? LONGEST_RETRY_ALONE_MS : LONGEST_PEER_RETRY_MS)
      // One that is gone for good must not take a place from those that are new. Where it lives, it is discovered again.
      if (wanted.failures >= MAX_DIAL_FAILURES && !isAlone) this.#wanted.delete(peer)
      log.debug({ peer, failures: wanted.failures, err: error }, 'a discovered peer is not reached')
    }
  }
}
