import type { PeerId } from '../swarm/ports.ts'
import type { Numbers } from './plan/numbers.ts'
import { Took } from './plan/took.ts'

interface SilencesOptions {
  readonly numbers: Numbers
  /** A peer has left a question open for too long, or can't be asked. */
  readonly onSilent: (peer: PeerId) => void
}

interface Line {
  /** When the oldest open question was asked, in ms; undefined where all are answered. */
  askedAt: number | undefined
  /** For how long this node has listened since then, in ms; undefined where nothing is waited for. */
  waited: number | undefined
  hasAnswered: boolean
  /** How often it was silent since it answered last. */
  strikes: number
  /** It is not asked before this, in ms. */
  silentUntil: number
}

/** Peers of which it is remembered how they answer; the one asked for longest ago is forgotten. */
const MAX_LINES = 1_024

/** Into this many turns of the event loop the shortest limit is divided. With fewer, one long turn can hide all answers. */
const TURNS = 10

/**
 * Which peers are silent: those that leave a question open for longer than answers take here. Time counts while this node listens: a
 * turn of its event loop counts for no more than it was to take, however long it took, and what waits in the sockets is heard before
 * a peer is judged. The first answer of a peer may take nearly as long as a node waits for any news, so that another peer can still
 * be asked: a connection that is new says nothing about how fast answers are.
 */
export class Silences {
  readonly #options: SilencesOptions
  readonly #took: Took
  /** The one asked for longest ago first. */
  readonly #lines = new Map<PeerId, Line>()
  readonly #turnMs: number
  #timer: NodeJS.Timeout | undefined
  #isStopped = false

  constructor(options: SilencesOptions) {
    this.#options = options
    this.#took = new Took(options.numbers)
    this.#turnMs = options.numbers.lateMs / TURNS
  }

  stop(): void {
    this.#isStopped = true
    clearTimeout(this.#timer)
  }

  isSilent(peer: PeerId): boolean {
    return performance.now() < (this.#lines.get(peer)?.silentUntil ?? 0)
  }

  /** A peer was asked something that it is to answer. */
  asked(peer: PeerId): void {
    const line = this.#line(peer)
    line.askedAt ??= performance.now()
    line.waited ??= 0
    this.#schedule()
  }

  /** A peer has answered, in time or not. */
  answered(peer: PeerId): void {
    const line = this.#lines.get(peer)
    if (line === undefined) return
    if (line.askedAt !== undefined) this.#took.add(Math.min(performance.now() - line.askedAt, this.#longest))
    this.#lines.set(peer, { askedAt: undefined, waited: undefined, hasAnswered: true, strikes: 0, silentUntil: 0 })
  }

  /** A peer can't be asked. */
  failed(peer: PeerId): void {
    this.#silence(peer, this.#line(peer))
  }

  /** Whoever is connected anew is asked as for the first time. */
  left(peer: PeerId): void {
    this.#lines.delete(peer)
  }

  #line(peer: PeerId): Line {
    const line = this.#lines.get(peer) ?? {
      askedAt: undefined,
      waited: undefined,
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

  /** The next coordinator can answer before this node reads without any turn. */
  get #longest(): number {
    const { patienceMs, lateMs } = this.#options.numbers
    return patienceMs - lateMs
  }

  #limitOf({ hasAnswered, strikes }: Line): number {
    return hasAnswered || strikes > 0 ? Math.min(this.#took.limit, this.#longest) : this.#longest
  }

  #schedule(): void {
    if (this.#timer !== undefined || this.#isStopped) return
    this.#timer = setTimeout(() => this.#turn(), this.#turnMs)
  }

  #turn(): void {
    const late: [PeerId, Line][] = []
    let isWaiting = false
    for (const [peer, line] of this.#lines) {
      if (line.waited === undefined) continue
      line.waited += this.#turnMs
      isWaiting = true
      if (line.waited >= this.#limitOf(line)) late.push([peer, line])
    }
    this.#timer = undefined
    if (isWaiting) this.#schedule()
    // Sockets are read after timers.
    if (late.length > 0) setImmediate(() => this.#judge(late))
  }

  #judge(late: readonly [PeerId, Line][]): void {
    if (this.#isStopped) return
    for (const [peer, line] of late)
      if (this.#lines.get(peer) === line && line.waited !== undefined) this.#silence(peer, line)
  }

  #silence(peer: PeerId, line: Line): void {
    line.silentUntil = performance.now() + this.#limitOf(line) * 2 ** Math.min(line.strikes++, 6)
    line.waited = undefined
    this.#options.onSilent(peer)
  }
}
