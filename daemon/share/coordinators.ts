import type { Digest } from '../../proxy/oci/digest.ts'
import type { Coordination, PeerId } from '../swarm/ports.ts'
import type { Clock } from './clock.ts'
import { Coordinator } from './coordinator.ts'
import type { Turn, Want } from './plan/messages.ts'
import type { Numbers } from './plan/numbers.ts'
import { Silences } from './silences.ts'
import { encodeTurns, encodeWants, MAX_CLAIMS_PER_MESSAGE, parseClaim } from './wire/claims.ts'

interface CoordinatorsOptions {
  readonly clock: Clock
  readonly self: () => PeerId
  readonly coordination: Pick<Coordination, 'coordinators' | 'announced' | 'tell'>
  readonly numbers: Numbers
  /** The site of a peer, or of this node, if it has told one. */
  readonly siteOf?: ((peer: PeerId) => string | undefined) | undefined
  /** Whether others can fetch from a peer; all can where it is left out. */
  readonly canGive?: ((peer: PeerId) => boolean) | undefined
  /** The coordinator's word about blobs, all of one moment. */
  readonly onTurns: (turns: readonly Turn[]) => void
}

/** What coordinators were told of one blob. */
interface Told {
  /** What the nearest one is to know; undefined where the blob is not under way. */
  want: Want | undefined
  /** The coordinators, nearest first. */
  order: readonly PeerId[]
  /** Those who take this node for a member or a holder, and what they were told last; nobody else is believed about turns. */
  readonly peers: Map<PeerId, Want>
}

/** Something to be told, once it is known who coordinates its blob. */
interface Telling {
  readonly want: Want
  readonly order: readonly PeerId[]
  /** Whether it is to be told still. */
  readonly isWanted: () => boolean
}

/** Blobs of which it is remembered who was told, and peers of one blob: more than a node fetches at a time, and than coordinate it. */
const MAX_TOLD = 8_192
const MAX_TOLD_PEERS = 8

/**
 * Who reads upstream, as coordinators say. A blob that is under way is told to the nearest coordinator that is not silent, and again
 * when another one becomes that, because a peer comes, leaves or falls silent. The nearest one that answers is followed, and those
 * farther away, which were asked while it was silent or not known, are told that this node has gone: as all nodes do the same, they
 * come together in one queue.
 */
export class Coordinators {
  readonly #options: CoordinatorsOptions
  readonly #silences: Silences
  /** This node as a coordinator. */
  readonly #own: Coordinator
  /** The one told of longest ago first. */
  readonly #told = new Map<string, Told>()
  /** Who waits for the answer about a key that is no blob: several, where a tag is asked for in several names. */
  readonly #waiting = new Map<string, Set<(turn: Turn) => void>>()
  /** Lookups of coordinators that are under way: wants of one blob are told in the order in which they came. */
  readonly #lookups = new Map<string, Promise<unknown>>()
  /** What is told next, together. */
  #ready: Telling[] = []
  /** Whether it is about to be looked who is the nearest now. */
  #isMoving = false
  #isStopped = false

  constructor(options: CoordinatorsOptions) {
    this.#options = options
    const { clock, numbers, coordination, self, siteOf, canGive } = options
    this.#silences = new Silences({ clock, numbers, onSilent: () => this.#move() })
    this.#own = new Coordinator({
      clock,
      numbers,
      siteOf,
      canGive,
      announced: (digest) => coordination.announced(digest),
      onTurns: (to, turns) => {
        if (to === self()) this.#heardTurns(to, turns)
        else for (const part of messagesOf(turns)) coordination.tell(to, encodeTurns(part)).catch(() => {})
      },
    })
  }

  stop(): void {
    this.#isStopped = true
    this.#own.stop()
    this.#silences.stop()
  }

  /** Tells the coordinators of these blobs, in one message for each. */
  want(wants: readonly Want[]): void {
    for (const want of wants) this.#tell(want)
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
    this.#tell({ blob: key, brought: 0, wish, sought: this.#options.numbers.named }, () => waiting.has(resolve))
    const turn = await promise
    signal.removeEventListener('abort', onAbort)
    waiting.delete(resolve)
    if (waiting.size > 0 || this.#waiting.get(key) !== waiting) return turn
    this.#waiting.delete(key)
    const told = this.#told.get(key)
    if (told !== undefined) told.want = undefined
    return turn
  }

  /** What a peer says, in either role. @throws {Error} where it is no message about claims */
  heard(peer: PeerId, message: unknown): void {
    const claim = parseClaim(message)
    if (claim.kind === 'wants') {
      this.#own.serve(peer, claim.wants).catch(() => {})
      return
    }
    this.#silences.answered(peer)
    this.#heardTurns(peer, claim.turns)
  }

  /** A peer can be asked from now on. */
  joined(peer: PeerId): void {
    this.#silences.joined(peer)
    this.#move()
  }

  /** A peer is not connected any more. */
  left(peer: PeerId): void {
    this.#silences.left(peer)
    for (const { peers } of this.#told.values()) peers.delete(peer)
    this.#own.left(peer)
    this.#move()
  }

  #heardTurns(peer: PeerId, turns: readonly Turn[]): void {
    const believed = turns.filter(({ blob }) => this.#told.get(blob)?.peers.has(peer) === true)
    this.#leaveFarther(peer, believed)
    const ofBlobs: Turn[] = []
    for (const turn of believed) {
      const waiting = this.#waiting.get(turn.blob)
      if (waiting === undefined) ofBlobs.push(turn)
      else for (const resolve of waiting) resolve(turn)
    }
    if (ofBlobs.length > 0) this.#options.onTurns(ofBlobs)
  }

  /** A coordinator answers: those farther away that were told the same are left. Holders of a blob are left as such. */
  #leaveFarther(peer: PeerId, turns: readonly Turn[]): void {
    const byPeer = new Map<PeerId, Want[]>()
    for (const { blob } of turns) {
      const told = this.#told.get(blob)
      if (told === undefined) continue
      for (const [other, { wish }] of told.peers) {
        if (wish === 'done' || rankOf(told, other) <= rankOf(told, peer)) continue
        told.peers.delete(other)
        addTo(byPeer, other, { blob, brought: 0, wish: 'gone', sought: 0 })
      }
    }
    for (const [other, wants] of byPeer) this.#send(other, wants).catch(() => {})
  }

  /** Tells of blobs under way whose nearest coordinator has changed. */
  #move(): void {
    if (this.#isMoving || this.#isStopped) return
    this.#isMoving = true
    queueMicrotask(() => {
      this.#isMoving = false
      for (const { want } of [...this.#told.values()])
        if (want !== undefined) this.#tell(want, () => this.#told.get(want.blob)?.want === want)
    })
  }

  /** In a large swarm it may take a while to find out who coordinates a blob. Other blobs do not wait for that. */
  #tell(want: Want, isWanted: () => boolean = () => true): void {
    const { blob } = want
    const before = this.#lookups.get(blob)
    const lookup = this.#options.coordination.coordinators(blob as Digest).catch(() => [])
    const found = Promise.all([lookup, before]).then(([order]) => {
      if (this.#lookups.get(blob) === found) this.#lookups.delete(blob)
      if (this.#ready.length === 0) queueMicrotask(() => this.#tellReady())
      this.#ready.push({ want, order, isWanted })
    })
    this.#lookups.set(blob, found)
  }

  #tellReady(): void {
    const { self } = this.#options
    const tellings = this.#ready
    this.#ready = []
    if (this.#isStopped) return
    const byPeer = new Map<PeerId, Want[]>()
    for (const { want, order, isWanted } of tellings) {
      // It may have ended meanwhile.
      if (!isWanted()) continue
      const told = this.#remember(want, order)
      const nearest = told.order.find((peer) => peer === self() || !this.#silences.isSilent(peer))
      const peers = new Set(isEnd(want) ? told.peers.keys() : [])
      if (nearest !== undefined) peers.add(nearest)
      for (const peer of peers) if (told.peers.get(peer) !== want) addTo(byPeer, peer, want)
      if (want.wish === 'gone') this.#told.delete(want.blob)
    }
    for (const [peer, part] of byPeer) this.#ask(peer, part)
  }

  #remember(want: Want, order: readonly PeerId[]): Told {
    const told = this.#told.get(want.blob) ?? { want, order, peers: new Map() }
    told.want = isEnd(want) ? undefined : want
    told.order = order
    this.#told.delete(want.blob)
    this.#told.set(want.blob, told)
    const [oldest] = this.#told.keys()
    if (this.#told.size > MAX_TOLD && oldest !== undefined) this.#told.delete(oldest)
    return told
  }

  #ask(peer: PeerId, wants: readonly Want[]): void {
    let isAnswered = false
    for (const want of wants) {
      const peers = this.#told.get(want.blob)?.peers
      isAnswered ||= isAnswer(want, peers?.get(peer))
      if (peers === undefined) continue
      peers.delete(peer)
      for (const oldest of peers.keys()) if (peers.size >= MAX_TOLD_PEERS) peers.delete(oldest)
      peers.set(peer, want)
    }
    if (isAnswered && peer !== this.#options.self()) this.#silences.asked(peer)
    this.#send(peer, wants).catch(() => {
      for (const { blob } of wants) this.#told.get(blob)?.peers.delete(peer)
      this.#silences.failed(peer)
    })
  }

  async #send(peer: PeerId, wants: readonly Want[]): Promise<void> {
    const { coordination, self } = this.#options
    if (peer === self()) await this.#own.serve(peer, wants)
    else await Promise.all(messagesOf(wants).map((part) => coordination.tell(peer, encodeWants(part))))
  }
}

/** Whether the node takes no turn at the blob from now on. */
function isEnd({ wish }: Want): boolean {
  return wish === 'gone' || wish === 'done'
}

/** Whether a coordinator answers: to whoever is new, and to whoever has brought nothing since. */
function isAnswer(want: Want, before: Want | undefined): boolean {
  if (isEnd(want)) return false
  return before === undefined || isEnd(before) || broughtBy(want) <= broughtBy(before)
}

/** Parts, from upstream and from other sites. */
function broughtBy({ brought, far = 0 }: Want): number {
  return brought + far
}

/** Place of a peer among the coordinators of a blob; those who are none any more come last. */
function rankOf({ order }: Told, peer: PeerId): number {
  const rank = order.indexOf(peer)
  return rank < 0 ? order.length : rank
}

function addTo(byPeer: Map<PeerId, Want[]>, peer: PeerId, want: Want): void {
  const wants = byPeer.get(peer)
  if (wants === undefined) byPeer.set(peer, [want])
  else wants.push(want)
}

/** As many as a message takes at a time. */
function messagesOf<T>(claims: readonly T[]): (readonly T[])[] {
  const parts: (readonly T[])[] = []
  for (let at = 0; at < claims.length; at += MAX_CLAIMS_PER_MESSAGE)
    parts.push(claims.slice(at, at + MAX_CLAIMS_PER_MESSAGE))
  return parts
}
