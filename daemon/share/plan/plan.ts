import type { PlannedBlob } from './blob.ts'
import { Gossip } from './gossip.ts'
import type { BlobId, Message, PeerId } from './messages.ts'
import { ReceivingPlaces } from './receiving.ts'
import { SendingPlaces } from './sending.ts'
import { type PlanOptions, State } from './state.ts'
import type { Effect, Event, NewBlob } from './steps.ts'
import { UpstreamPlace } from './upstream.ts'

/**
 * What one node receives, sends and reads from upstream, for all its blobs. It does nothing itself: it is told what happens, and
 * says what is to be done. Receivers have places, and ask without naming a chunk; senders choose. Time is the caller's.
 */
export class Plan {
  readonly #state: State
  readonly #gossip: Gossip
  readonly #receiving: ReceivingPlaces
  readonly #sending: SendingPlaces
  readonly #upstream: UpstreamPlace

  constructor(options: PlanOptions) {
    this.#state = new State(options)
    this.#gossip = new Gossip(this.#state, (blob, peer) => this.#refuse(blob.id, peer))
    this.#sending = new SendingPlaces(this.#state)
    this.#upstream = new UpstreamPlace(this.#state, (blob, chunk) => this.#sending.broken(blob, chunk))
    this.#receiving = new ReceivingPlaces(this.#state, {
      onWhole: (blob, chunk) => this.#upstream.whole(blob, chunk),
      onBroken: (blob, chunk) => this.#sending.broken(blob, chunk),
    })
  }

  /** When `wake` is to happen if nothing else does before, in ms of the clock of events. */
  get wakeAt(): number {
    const { wantsAt, arrears } = this.#state
    const places = Math.min(this.#receiving.wakeAt, this.#sending.wakeAt, this.#upstream.wakeAt)
    return Math.min(this.#gossip.wakeAt, places, wantsAt, arrears?.wakeAt ?? Number.POSITIVE_INFINITY)
  }

  /** Whether this node reads from upstream what it lacks, as strangers have held it back for long enough. */
  get isBehind(): boolean {
    return this.#state.isBehind
  }

  /** How many parts of a chunk are held. */
  partsOf(blob: BlobId, chunk: number): number {
    return this.#state.blobs.get(blob)?.partsOf(chunk) ?? 0
  }

  /**
   * Whether a neighbour that can be trusted has a chunk, or its first part; without one, whether any neighbour has something that is
   * lacking, trusted or not: it may be busy, and nobody else have it.
   */
  expects(id: BlobId, chunk?: number): boolean {
    const { blobs, neighbours } = this.#state
    const blob = blobs.get(id)
    if (blob === undefined) return false
    if (chunk === undefined && blob.coming.size > 0) return true
    for (const { views, isTrusted } of neighbours.values()) {
      const begun = isTrusted || chunk === undefined ? views.get(id)?.begun : undefined
      if (begun === undefined) continue
      if (chunk === undefined ? blob.wanted.meets(begun, blob.first, blob.chunks) : begun.has(chunk)) return true
    }
    return false
  }

  /**
   * Something happens, or several things at once, of which neighbours and coordinators are then told in one message.
   * @param now ms of any clock that does not go back
   * @returns what is to be done, in this order
   */
  step(events: Event | readonly Event[], now: number): readonly Effect[] {
    const state = this.#state
    state.now = now
    state.arrears?.pass(now)
    for (const event of 'kind' in events ? [events] : events) this.#happens(event)
    this.#receiving.look()
    this.#sending.look()
    this.#upstream.look()
    this.#upstream.fill()
    state.arrears?.count(this.#upstream.isLeft)
    this.#gossip.exchange()
    this.#receiving.fill()
    this.#sending.offer()
    this.#gossip.introduce()
    this.#gossip.look()
    if (now >= state.wantsAt) {
      state.effects.push({ kind: 'want', wants: [...state.wants.values()] })
      state.wants.clear()
      state.wantsAt = Number.POSITIVE_INFINITY
    }
    const { effects } = state
    state.effects = []
    return effects
  }

  #happens(event: Event): void {
    switch (event.kind) {
      case 'blobs':
        this.#add(event.blobs)
        break
      case 'wanted':
        this.#wanted(event.blob, event.isOffered)
        break
      case 'sized':
        this.#sized(event.blob, event.chunks, event.held)
        break
      case 'named':
        this.#gossip.named(event.blob, event.peers)
        break
      case 'part':
        this.#refuse(event.blob, event.peer)
        break
      case 'alone':
        this.#alone(event.blob)
        break
      case 'urgent': {
        const blob = this.#state.blobs.get(event.blob)
        if (blob !== undefined) blob.urgent = event.chunks
        break
      }
      case 'raw':
        this.#upstream.raw(event.blob, event.chunk)
        break
      case 'drop':
        this.#drop(event.blob)
        break
      case 'message':
        this.#message(event.from, event.message)
        break
      case 'quarter': {
        const from = this.#state.neighbours.get(event.from)
        if (from !== undefined) this.#receiving.quarter(from, event.id, event.quarter)
        break
      }
      case 'read': {
        const blob = this.#upstream.read(event.blob, event.chunk, event.quarter)
        if (blob !== undefined) this.#receiving.whole(blob, event.chunk)
        break
      }
      case 'unreadable':
        this.#upstream.unreadable(event.blob)
        break
      case 'readable':
        this.#upstream.readable(event.blob)
        break
      case 'sent': {
        const to = this.#state.neighbours.get(event.to)
        if (to !== undefined) this.#sending.sent(to, event.id)
        break
      }
      case 'left':
        this.#left(event.peer)
        break
      case 'turn':
        this.#upstream.turn(event.turn)
        this.#gossip.named(event.turn.blob, event.turn.members)
        break
      case 'wake':
        break
    }
  }

  #message(peer: PeerId, message: Message): void {
    if ('news' in message) this.#gossip.heard(peer, message.news)
    const from = this.#state.neighbours.get(peer)
    if (from === undefined) return
    switch (message.kind) {
      case 'ask':
        this.#sending.asked(from, message)
        break
      case 'head':
        this.#receiving.head(from, message)
        break
      case 'busy':
      case 'none':
        this.#receiving.refused(from, message.id, message.kind === 'busy')
        break
      case 'leave':
        this.#sending.leave(from, message.id)
        break
      case 'cut':
        this.#receiving.broken(from, message.id)
        break
      case 'bye': {
        const blob = this.#state.blobs.get(message.blob)
        if (blob !== undefined) this.#part(blob, peer)
        break
      }
      case 'news':
        break
    }
  }

  /** Blobs that are there already may be wanted now, and stay as they are. */
  #add(blobs: readonly NewBlob[]): void {
    const added: PlannedBlob[] = []
    for (const blob of blobs) {
      if (!this.#state.blobs.has(blob.blob)) added.push(this.#state.addBlob(blob))
      else if (blob.isWanted) this.#wanted(blob.blob)
    }
    this.#upstream.add(added)
  }

  #wanted(id: BlobId, isOffered = false): void {
    const blob = this.#state.blobs.get(id)
    if (blob === undefined || blob.isWanted) return
    blob.isWanted = true
    this.#state.sort(blob)
    this.#upstream.wanted(blob, isOffered)
  }

  #sized(id: BlobId, chunks: number, held: readonly number[]): void {
    const blob = this.#state.blobs.get(id)
    if (blob === undefined || blob.isSized) return
    if (chunks === 0) this.#upstream.stop(blob)
    this.#state.sizeBlob(blob, chunks, held)
    this.#upstream.sized(blob)
  }

  #alone(id: BlobId): void {
    const blob = this.#state.blobs.get(id)
    if (blob === undefined || blob.isAlone) return
    blob.isAlone = true
    this.#state.sort(blob)
    this.#refuseAll(blob)
    this.#upstream.alone(blob)
  }

  #drop(id: BlobId): void {
    const blob = this.#state.blobs.get(id)
    if (blob === undefined) return
    this.#refuseAll(blob)
    this.#upstream.drop(blob)
    this.#state.blobs.delete(id)
    this.#state.askedFor.delete(blob)
  }

  #refuseAll(blob: PlannedBlob): void {
    for (const { id, views } of [...this.#state.neighbours.values()]) if (views.has(blob.id)) this.#refuse(blob.id, id)
  }

  /** Tells a neighbour that it is none for this blob. */
  #refuse(id: BlobId, peer: PeerId): void {
    const blob = this.#state.blobs.get(id)
    const neighbour = this.#state.neighbours.get(peer)
    if (blob === undefined || neighbour?.views.has(id) !== true) return
    this.#state.send(neighbour, { kind: 'bye', blob: id })
    this.#part(blob, peer)
  }

  /** A neighbour takes no part in a blob any more. */
  #part(blob: PlannedBlob, peer: PeerId): void {
    const neighbour = this.#state.neighbours.get(peer)
    if (neighbour === undefined) return
    const { sending } = neighbour
    this.#state.forget(neighbour, blob)
    const isGone = neighbour.views.size === 0
    // A question is about all blobs: it is answered with another one.
    for (const { id, blob: coming } of neighbour.receiving?.answers ?? [])
      if (isGone || coming === blob) this.#receiving.cut(neighbour, id)
    if (sending?.blob === blob) this.#sending.leave(neighbour, isGone ? undefined : sending.id)
  }

  #left(peer: PeerId): void {
    const neighbour = this.#state.neighbours.get(peer)
    if (neighbour === undefined) return
    this.#receiving.cut(neighbour)
    this.#sending.leave(neighbour)
    for (const { blob } of [...neighbour.views.values()]) this.#state.forget(neighbour, blob)
  }
}
