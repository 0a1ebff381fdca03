import { PlannedBlob } from './blob.ts'
import type { BlobId, BlobNews, Message, News, PeerId } from './messages.ts'
import { count, Neighbour, type Receiving, type Sending, uncount } from './neighbour.ts'
import type { Numbers } from './numbers.ts'
import type { Effect } from './steps.ts'
import { Took } from './took.ts'

export interface PlanOptions {
  readonly numbers: Numbers
  /** 0 up to 1. */
  readonly random: () => number
  /** When the last byte of an answer was received or sent, in ms of the clock of events; looked at when one may be silent. */
  readonly lastByteAt: (peer: PeerId, direction: 'in' | 'out') => number
}

/** What one node knows; the rules beside it change it. */
export class State {
  readonly numbers: Numbers
  readonly random: () => number
  readonly lastByteAt: PlanOptions['lastByteAt']
  readonly blobs = new Map<BlobId, PlannedBlob>()
  readonly neighbours = new Map<PeerId, Neighbour>()
  readonly receiving = new Set<Receiving>()
  readonly sending = new Set<Sending>()
  /** What is read from upstream, by blob. */
  readonly reads = new Map<PlannedBlob, number>()
  readonly receivedIn: Took
  readonly sentIn: Took
  effects: Effect[] = []
  now = 0
  /** Chunks that are whole, of all blobs. */
  held = 0
  /** When neighbours were told last. */
  toldAt = Number.NEGATIVE_INFINITY
  /** Whether neighbours' chunks come in every receiving place, and when that was so last, in ms. */
  isBusy = false
  busyAt = Number.NEGATIVE_INFINITY
  /** Whether there may be something to tell. */
  hasNews = false

  constructor({ numbers, random, lastByteAt }: PlanOptions) {
    this.numbers = numbers
    this.random = random
    this.lastByteAt = lastByteAt
    this.receivedIn = new Took(numbers)
    this.sentIn = new Took(numbers)
  }

  /** Receiving places: what comes one by one can be passed on sooner. */
  get places(): number {
    const { places, startPlaces } = this.numbers
    return Math.min(places, startPlaces + this.held)
  }

  /** Sending places that are free. There is one more than to receive until all are open: the first chunk spreads as a tree, not as a chain. */
  get free(): number {
    return Math.min(this.numbers.places, this.places + 1) - this.sending.size
  }

  /** News is told no sooner than this after the last, in ms: half of what the line takes for a chunk, where that is longer. */
  get newsInterval(): number {
    return Math.max(this.numbers.newsMs, this.receivedIn.mean / this.numbers.places / 2)
  }

  /** Since when nothing new of a blob has come, in ms, although this node could take it. */
  quietSince({ movedAt }: PlannedBlob): number {
    return this.isBusy ? this.now : Math.max(movedAt, this.busyAt)
  }

  addBlob(id: BlobId, chunks: number, held: readonly number[]): PlannedBlob {
    const blob = new PlannedBlob(id, chunks, this.numbers.quarters, this.now)
    this.blobs.set(id, blob)
    for (const chunk of held) blob.holdWhole(chunk)
    this.held += held.length
    return blob
  }

  neighbour(id: PeerId): Neighbour {
    let neighbour = this.neighbours.get(id)
    if (neighbour === undefined) {
      neighbour = new Neighbour(id)
      this.neighbours.set(id, neighbour)
    }
    return neighbour
  }

  send(to: Neighbour, message: Message): void {
    this.effects.push({ kind: 'send', to: to.id, message })
  }

  /** What a neighbour was not told yet; it counts as told now. */
  newsFor(neighbour: Neighbour): News {
    const blobs: BlobNews[] = []
    for (const view of neighbour.views.values()) {
      const { blob, cursor } = view
      if (cursor === blob.log.length) continue
      blobs.push({ blob: blob.id, log: blob.log.slice(Math.max(cursor, 0)) })
      view.cursor = blob.log.length
    }
    neighbour.toldFree = this.free
    neighbour.toldAt = this.now
    return { free: this.free, blobs }
  }

  /** A neighbour has told something. */
  hear(neighbour: Neighbour, { free, blobs }: News): void {
    neighbour.heardAt = this.now
    neighbour.free = free
    neighbour.saidNone = false
    for (const { blob: id, log } of blobs) {
      const view = neighbour.views.get(id)
      if (view === undefined) continue
      const { blob, begun, whole } = view
      for (const entry of log) {
        const chunk = entry < 0 ? ~entry : entry
        if (chunk >= blob.chunks) continue
        if (neighbour.isTrusted && blob.sees(chunk)) blob.movedAt = this.now
        begun.set(chunk)
        if (entry < 0) whole.set(chunk)
        count(view, chunk)
      }
    }
  }

  /** A neighbour takes no part in a blob any more. */
  forget(neighbour: Neighbour, blob: PlannedBlob): void {
    const view = neighbour.views.get(blob.id)
    if (view === undefined) return
    view.begun.clearAll()
    for (let chunk = 0; chunk < blob.chunks; chunk++) uncount(view, chunk)
    neighbour.views.delete(blob.id)
    if (neighbour.views.size === 0) this.neighbours.delete(neighbour.id)
  }

  /** Neighbours for one blob. */
  countFor(blob: BlobId): number {
    let neighbours = 0
    for (const { views } of this.neighbours.values()) if (views.has(blob)) neighbours++
    return neighbours
  }
}
