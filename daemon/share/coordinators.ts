import type { Digest } from '../../proxy/oci/digest.ts'
import type { Coordination, PeerId } from '../swarm/ports.ts'
import type { Turn, Want } from './plan/messages.ts'
import type { Numbers } from './plan/numbers.ts'
import { ClaimQueue, type QueueEvent } from './plan/queue.ts'
import { Took } from './plan/took.ts'
import { encodeTurns, encodeWants, parseClaim } from './wire/claims.ts'

interface CoordinatorsOptions {
  readonly self: () => PeerId
  readonly coordination: Pick<Coordination, 'coordinators' | 'recorded' | 'tell'>
  readonly numbers: Numbers
  /** The coordinator's word about blobs, all of one moment. */
  readonly onTurns: (turns: readonly Turn[]) => void
}

/** What was asked of a coordinator and not answered. */
interface Asked {
  readonly since: number
  readonly wants: Map<string, Want>
}

/** A coordinator that left a question open. */
interface Silence {
  until: number
  strikes: number
}

/** Blobs of which it is remembered who was asked, and peers of one blob: more than a node fetches at a time, and than coordinate it. */
const MAX_TOLD = 8_192
const MAX_TOLD_PEERS = 8

/** Coordinators that are remembered as silent. */
const MAX_SILENT = 256

/** Blobs of one message: with all peers that a turn names it stays below 256 KiB, the most that a peer takes. */
const MAX_PER_MESSAGE = 128

/**
 * Both sides of who reads upstream: asks the coordinator of each blob, and the next one where it is silent for longer than answers
 * take; and answers for blobs of which this node is the coordinator itself.
 */
export class Coordinators {
  readonly #options: CoordinatorsOptions
  readonly #queue: ClaimQueue
  readonly #took: Took
  readonly #asked = new Map<PeerId, Asked>()
  readonly #silent = new Map<PeerId, Silence>()
  /** Who was asked about a blob, the one asked for longest ago first: nobody else is believed about turns at it. */
  readonly #told = new Map<string, Set<PeerId>>()
  /** Parts that were told to be brought: who tells of more is not answered. */
  readonly #brought = new Map<string, number>()
  /** Who waits for the answer about a key that is no blob: several, where a tag is asked for in several names. */
  readonly #waiting = new Map<string, Set<(turn: Turn) => void>>()
  /** Wants are told in the order in which they came. */
  #telling: Promise<void> = Promise.resolve()
  /** And each peer's are served in that order: one that said last that it is unable, or gone, must not be granted a turn. */
  readonly #serving = new Map<PeerId, Promise<void>>()
  /** Records that are being read: all who ask for a blob in one moment wait for the same. */
  readonly #lookups = new Map<string, Promise<readonly PeerId[]>>()
  #timer: NodeJS.Timeout | undefined
  #isStopped = false

  constructor(options: CoordinatorsOptions) {
    this.#options = options
    this.#queue = new ClaimQueue(options.numbers, Math.random)
    this.#took = new Took(options.numbers)
  }

  stop(): void {
    this.#isStopped = true
    clearTimeout(this.#timer)
  }

  /** Tells the coordinators of these blobs, in one message for each. */
  want(wants: readonly Want[]): void {
    this.#telling = this.#telling.then(() => this.#tell(wants)).catch(() => {})
  }

  /**
   * Asks for a turn at something that nodes do once for all of them, and that is no blob.
   * @param key a digest of what it is, the same on all nodes
   * @returns the coordinator's word; undefined where none comes before the signal is aborted
   */
  async turn(key: Digest, wish: 'part' | 'hungry', signal: AbortSignal): Promise<Turn | undefined> {
    if (signal.aborted) return undefined
    const { promise, resolve } = Promise.withResolvers<Turn | undefined>()
    const onAbort = () => resolve(undefined)
    signal.addEventListener('abort', onAbort, { once: true })
    const waiting = this.#waiting.get(key) ?? new Set()
    this.#waiting.set(key, waiting.add(resolve))
    this.want([{ blob: key, brought: 0, wish, sought: this.#options.numbers.named }])
    const turn = await promise
    signal.removeEventListener('abort', onAbort)
    waiting.delete(resolve)
    if (waiting.size === 0 && this.#waiting.get(key) === waiting) this.#waiting.delete(key)
    return turn
  }

  /** What a peer says, in either role. @throws {Error} where it is no message about claims */
  heard(peer: PeerId, message: unknown): void {
    const claim = parseClaim(message)
    if (claim.kind === 'wants') {
      this.#serve(peer, claim.wants).catch(() => {})
      return
    }
    const asked = this.#asked.get(peer)
    if (asked !== undefined) {
      this.#asked.delete(peer)
      this.#took.add(performance.now() - asked.since)
    }
    this.#silent.delete(peer)
    this.#turned(claim.turns.filter(({ blob }) => this.#told.get(blob)?.has(peer) === true))
  }

  /** A peer is not connected any more. */
  left(peer: PeerId): void {
    this.#silent.delete(peer)
    this.#step({ kind: 'left', peer })
    this.#passOn(peer)
  }

  #turned(turns: readonly Turn[]): void {
    const ofBlobs: Turn[] = []
    for (const turn of turns) {
      const waiting = this.#waiting.get(turn.blob)
      if (waiting === undefined) ofBlobs.push(turn)
      else for (const resolve of waiting) resolve(turn)
    }
    if (ofBlobs.length > 0) this.#options.onTurns(ofBlobs)
  }

  async #tell(wants: readonly Want[]): Promise<void> {
    const now = performance.now()
    const byPeer = new Map<PeerId, Want[]>()
    for (const want of wants) {
      const peers = await this.#options.coordination.coordinators(want.blob as Digest)
      const peer = peers.find((one) => one === this.#options.self() || (this.#silent.get(one)?.until ?? 0) < now)
      if (peer === undefined) continue
      byPeer.set(peer, [...(byPeer.get(peer) ?? []), want])
    }
    for (const [peer, part] of byPeer) {
      if (peer === this.#options.self()) await this.#serve(peer, part)
      else this.#ask(peer, part)
    }
  }

  #ask(peer: PeerId, wants: readonly Want[]): void {
    const asked = this.#asked.get(peer) ?? { since: performance.now(), wants: new Map() }
    for (const want of wants) {
      this.#note(want.blob, peer)
      if (this.#isAnswered(want)) asked.wants.set(want.blob, want)
    }
    if (asked.wants.size > 0) this.#asked.set(peer, asked)
    for (const some of messagesOf(wants))
      this.#options.coordination.tell(peer, encodeWants(some)).catch(() => this.#isSilent(peer))
    this.#schedule()
  }

  #note(blob: string, peer: PeerId): void {
    const peers = this.#told.get(blob) ?? new Set()
    peers.delete(peer)
    for (const oldest of peers) if (peers.size >= MAX_TOLD_PEERS) peers.delete(oldest)
    this.#told.delete(blob)
    this.#told.set(blob, peers.add(peer))
    const [oldest] = this.#told.keys()
    if (this.#told.size > MAX_TOLD && oldest !== undefined) this.#told.delete(oldest)
  }

  #isAnswered({ blob, wish, brought }: Want): boolean {
    const before = this.#brought.get(blob) ?? 0
    if (wish === 'gone' || wish === 'done') this.#brought.delete(blob)
    else if (brought > before) this.#brought.set(blob, brought)
    return wish !== 'gone' && wish !== 'done' && brought <= before
  }

  /** A coordinator does not answer: the next one is asked. */
  #isSilent(peer: PeerId): void {
    const silence = this.#silent.get(peer) ?? { until: 0, strikes: 0 }
    silence.until = performance.now() + this.#took.limit * 2 ** Math.min(silence.strikes++, 6)
    this.#silent.delete(peer)
    this.#silent.set(peer, silence)
    const [oldest] = this.#silent.keys()
    if (this.#silent.size > MAX_SILENT && oldest !== undefined) this.#silent.delete(oldest)
    this.#passOn(peer)
  }

  #passOn(peer: PeerId): void {
    const asked = this.#asked.get(peer)
    this.#asked.delete(peer)
    if (asked !== undefined && !this.#isStopped) this.want([...asked.wants.values()])
  }

  /** This node is the coordinator. */
  async #serve(from: PeerId, wants: readonly Want[]): Promise<void> {
    const before = this.#serving.get(from)
    const served = (async () => {
      const recorded = this.#recorded(wants)
      await before
      this.#step({ kind: 'wants', from, wants, recorded: await recorded })
    })().catch(() => {})
    this.#serving.set(from, served)
    await served
    if (this.#serving.get(from) === served) this.#serving.delete(from)
  }

  /** Who has announced the blobs of those who may be granted a turn. For whoever reads already, what was said last holds. */
  async #recorded(wants: readonly Want[]): Promise<Map<string, readonly PeerId[]>> {
    const recorded = new Map<string, readonly PeerId[]>()
    const lookUp = async (blob: string) => void recorded.set(blob, await this.#lookUp(blob))
    const asking = wants.filter(({ wish, brought }) => wish === 'soon' || (wish === 'part' && brought === 0))
    await Promise.all(asking.map(({ blob }) => lookUp(blob)))
    return recorded
  }

  async #lookUp(blob: string): Promise<readonly PeerId[]> {
    const known = this.#lookups.get(blob)
    if (known !== undefined) return await known
    const lookup = this.#options.coordination.recorded(blob as Digest)
    this.#lookups.set(blob, lookup)
    try {
      return await lookup
    } finally {
      this.#lookups.delete(blob)
    }
  }

  #step(event: QueueEvent): void {
    if (this.#isStopped) return
    const byPeer = new Map<PeerId, Turn[]>()
    for (const { to, turn } of this.#queue.step(event, performance.now())) {
      const turns = byPeer.get(to)
      if (turns === undefined) byPeer.set(to, [turn])
      else turns.push(turn)
    }
    for (const [peer, turns] of byPeer) {
      if (peer === this.#options.self()) this.#turned(turns)
      else
        for (const some of messagesOf(turns)) this.#options.coordination.tell(peer, encodeTurns(some)).catch(() => {})
    }
    this.#schedule()
  }

  #schedule(): void {
    clearTimeout(this.#timer)
    let at = this.#queue.wakeAt
    for (const { since } of this.#asked.values()) at = Math.min(at, since + this.#took.limit)
    if (at === Number.POSITIVE_INFINITY || this.#isStopped) return
    this.#timer = setTimeout(() => this.#wake(), Math.max(1, at - performance.now() + 1))
  }

  #wake(): void {
    const now = performance.now()
    for (const [peer, { since }] of [...this.#asked]) if (now >= since + this.#took.limit) this.#isSilent(peer)
    this.#step({ kind: 'wake' })
  }
}

function* messagesOf<T>(claims: readonly T[]): Generator<readonly T[]> {
  for (let at = 0; at < claims.length; at += MAX_PER_MESSAGE) yield claims.slice(at, at + MAX_PER_MESSAGE)
}
