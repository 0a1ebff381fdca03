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
    this.#gossip = new Gossip(this.#state)
    this.#sending = new SendingPlaces(this.#state)
    this.#upstream = new UpstreamPlace(this.#state)
    this.#receiving = new ReceivingPlaces(this.#state, {
      onWhole: (blob, chunk) => this.#upstream.whole(blob, chunk),
      onBroken: (blob, chunk) => this.#sending.broken(blob, chunk),
    })
  }

  /** When `wake` is to happen if nothing else does before, in ms of the clock of events. */
  get wakeAt(): number {
    return Math.min(this.#gossip.wakeAt, this.#receiving.wakeAt, this.#sending.wakeAt, this.#upstream.wakeAt)
  }

  /** How many parts of a chunk are held. */
  partsOf(blob: BlobId, chunk: number): number {
    return this.#state.blobs.get(blob)?.partsOf(chunk) ?? 0
  }

  /**
   * Something happens.
   * @param now ms of any clock that does not go back
   * @returns what is to be done, in this order
   */
  step(event: Event, now: number): readonly Effect[] {
    const state = this.#state
    state.now = now
    this.#happens(event)
    this.#receiving.look()
    this.#sending.look()
    this.#upstream.look()
    this.#upstream.fill()
    this.#receiving.fill()
    this.#sending.offer()
    this.#gossip.look()
    const { effects } = state
    state.effects = []
    return effects
  }

  #happens(event: Event): void {
    switch (event.kind) {
      case 'blobs':
        this.#add(event.blobs)
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
      case 'sent': {
        const to = this.#state.neighbours.get(event.to)
        if (to !== undefined) this.#sending.sent(to, event.id)
        break
      }
      case 'left':
        this.#left(event.peer)
        break
      case 'turn':
        this.#gossip.named(event.turn.blob, event.turn.members)
        this.#upstream.turn(event.turn)
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
        this.#receiving.cut(from, message.id)
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

  #add(blobs: readonly NewBlob[]): void {
    this.#upstream.add(blobs.map(({ blob, chunks, held }) => this.#state.addBlob(blob, chunks, held)))
  }

  #drop(id: BlobId): void {
    const blob = this.#state.blobs.get(id)
    if (blob === undefined) return
    for (const neighbour of [...this.#state.neighbours.values()]) {
      if (!neighbour.views.has(id)) continue
      this.#state.send(neighbour, { kind: 'bye', blob: id })
      this.#part(blob, neighbour.id)
    }
    this.#upstream.drop(blob)
    this.#state.blobs.delete(id)
  }

  /** A neighbour takes no part in a blob any more. */
  #part(blob: PlannedBlob, peer: PeerId): void {
    const neighbour = this.#state.neighbours.get(peer)
    if (neighbour === undefined) return
    for (const { id, blob: coming } of neighbour.receiving?.answers ?? [])
      if (coming === undefined || coming === blob) this.#receiving.cut(neighbour, id)
    if (neighbour.sending?.blob === blob) this.#sending.leave(neighbour)
    this.#state.forget(neighbour, blob)
  }

  #left(peer: PeerId): void {
    const neighbour = this.#state.neighbours.get(peer)
    if (neighbour === undefined) return
    this.#receiving.cut(neighbour)
    this.#sending.leave(neighbour)
    for (const { blob } of [...neighbour.views.values()]) this.#state.forget(neighbour, blob)
  }
}
