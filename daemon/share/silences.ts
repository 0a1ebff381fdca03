import type { PeerId } from '../swarm/ports.ts'
import type { Clock } from './clock.ts'
import type { Numbers } from './plan/numbers.ts'
import { Took } from './plan/took.ts'

interface SilencesOptions {
  readonly clock: Clock
  readonly numbers: Numbers
  /** A peer has left a question open for too long, or can't be asked. */
  readonly onSilent: (peer: PeerId) => void
}

interface Line {
  /** When the oldest open question was asked, in ms; undefined where all are answered. */
  askedAt: number | undefined
  /** The same; undefined as well where it is not waited for any more. */
  openSince: number | undefined
  hasAnswered: boolean
  /** How often it was silent since it answered last. */
  strikes: number
  /** It is not asked before this, in ms. */
  silentUntil: number
}

/** Peers of which it is remembered how they answer; the one asked for longest ago is forgotten. */
const MAX_LINES = 1_024

/**
 * Which peers are silent: those that leave a question open for longer than answers take here. No limit is longer than what leaves
 * the next coordinator time to answer before this node reads without any turn. That is the limit of a peer's first answer: nothing
 * is known of it yet but that it is connected.
 */
export class Silences {
  readonly #options: SilencesOptions
  readonly #took: Took
  /** The one asked for longest ago first. */
  readonly #lines = new Map<PeerId, Line>()
  #wakeAt = Number.POSITIVE_INFINITY
  #isStopped = false

  constructor(options: SilencesOptions) {
    this.#options = options
    this.#took = new Took(options.numbers)
  }

  stop(): void {
    this.#isStopped = true
  }

  isSilent(peer: PeerId): boolean {
    return this.#options.clock.now < (this.#lines.get(peer)?.silentUntil ?? 0)
  }

  /** A peer was asked something that it is to answer. */
  asked(peer: PeerId): void {
    const line = this.#line(peer)
    const { now } = this.#options.clock
    line.askedAt ??= now
    line.openSince ??= now
    this.#wake(line.openSince + this.#limitOf(line))
  }

  /** A peer has answered, in time or not. */
  answered(peer: PeerId): void {
    const line = this.#lines.get(peer)
    if (line === undefined) return
    if (line.askedAt !== undefined) this.#took.add(Math.min(this.#options.clock.now - line.askedAt, this.#longest))
    this.#lines.set(peer, { askedAt: undefined, openSince: undefined, hasAnswered: true, strikes: 0, silentUntil: 0 })
  }

  /** A peer can't be asked. */
  failed(peer: PeerId): void {
    const line = this.#line(peer)
    line.askedAt = undefined
    this.#silence(peer, line)
  }

  /** A peer can be asked from now on, perhaps for the first time. */
  joined(peer: PeerId): void {
    if (this.#lines.get(peer)?.openSince === undefined) this.#lines.delete(peer)
  }

  /** A peer is not connected any more: when it comes back, it is asked as for the first time. */
  left(peer: PeerId): void {
    this.#lines.delete(peer)
  }

  #line(peer: PeerId): Line {
    const line = this.#lines.get(peer) ?? {
      askedAt: undefined,
      openSince: undefined,
      hasAnswered: false,
      strikes: 0,
      silentUntil: 0,
    }
    this.#lines.delete(peer)
    this.#lines.set(peer, line)
    const [oldest] = this.#lines.keys()
    if (this.#lines.size > MAX_LINES && oldest !== undefined) this.#lines.delete(oldest)
    return line
  }

  /** In ms. */
  get #longest(): number {
    const { patienceMs, lateMs } = this.#options.numbers
    return patienceMs - lateMs
  }

  #limitOf({ hasAnswered, strikes }: Line): number {
    return hasAnswered || strikes > 0 ? Math.min(this.#took.limit, this.#longest) : this.#longest
  }

  #wake(at: number): void {
    if (at >= this.#wakeAt) return
    this.#wakeAt = at
    this.#options.clock.wake(this.#look, at)
  }

  /** What waits in the sockets is heard first: they are read after timers. */
  readonly #look = () => void setImmediate(() => this.#judge())

  #judge(): void {
    if (this.#isStopped) return
    const { clock } = this.#options
    let next = Number.POSITIVE_INFINITY
    for (const [peer, line] of [...this.#lines]) {
      if (line.openSince === undefined) continue
      const at = line.openSince + this.#limitOf(line)
      if (clock.now >= at) this.#silence(peer, line)
      else next = Math.min(next, at)
    }
    this.#wakeAt = Number.POSITIVE_INFINITY
    this.#wake(next)
  }

  #silence(peer: PeerId, line: Line): void {
    line.silentUntil = this.#options.clock.now + this.#limitOf(line) * 2 ** Math.min(line.strikes++, 6)
    line.openSince = undefined
    this.#options.onSilent(peer)
  }
}
