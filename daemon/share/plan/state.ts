import type { Bitfield } from '../../verify/bitfield.ts'
import { Arrears } from './arrears.ts'
import { PlannedBlob } from './blob.ts'
import type { BlobId, BlobNews, Message, News, PeerId, Want } from './messages.ts'
import { count, Neighbour, nothingOf, type Receiving, type Sending, uncount } from './neighbour.ts'
import type { Numbers } from './numbers.ts'
import { Reads } from './reads.ts'
import type { Effect, NewBlob } from './steps.ts'
import { Took } from './took.ts'

/** A bound of what is remembered of peers that are no neighbours: it protects memory, and tunes nothing. */
const MAX_STRUCK = 1_024

export interface PlanOptions {
  readonly numbers: Numbers
  /** 0 up to 1. */
  readonly random: () => number
  /** When the last byte of an answer was received or sent, in ms of the clock of events; looked at when one may be silent. */
  readonly lastByteAt: (peer: PeerId, direction: 'in' | 'out') => number
  /** Whether a peer is at another site; left out where this node knows no site. */
  readonly isFar?: ((peer: PeerId) => boolean) | undefined
  /** Whether anybody may be in the swarm, so that words count for little. */
  readonly isOpen?: boolean | undefined
}

/** What one node knows; the rules beside it change it. */
export class State {
  readonly numbers: Numbers
  readonly random: () => number
  readonly lastByteAt: PlanOptions['lastByteAt']
  readonly isFar: PlanOptions['isFar']
  readonly blobs = new Map<BlobId, PlannedBlob>()
  /** Those that neighbours are asked for. */
  readonly askedFor = new Set<PlannedBlob>()
  readonly neighbours = new Map<PeerId, Neighbour>()
  readonly receiving = new Set<Receiving>()
  readonly sending = new Set<Sending>()
  /** What is read from upstream. */
  readonly reads: Reads
  /** Neighbours that found no free sending place, the one that asked longest ago first. */
  readonly refused = new Set<Neighbour>()
  /** Those of which an answer ended in silence, and that are no neighbours now. */
  readonly #struck = new Map<PeerId, Pick<Neighbour, 'strikes' | 'restsUntil'>>()
  /** Undefined in a closed swarm, whose members are believed. */
  readonly arrears: Arrears | undefined
  readonly receivedIn: Took
  readonly sentIn: Took
  effects: Effect[] = []
  /** What the coordinators of blobs are to be told, and by when, in ms. */
  readonly wants = new Map<BlobId, Want>()
  wantsAt = Number.POSITIVE_INFINITY
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

  constructor({ numbers, random, lastByteAt, isFar, isOpen = false }: PlanOptions) {
    this.numbers = numbers
    this.random = random
    this.lastByteAt = lastByteAt
    this.isFar = isFar
    this.reads = new Reads(numbers)
    this.arrears = isOpen ? new Arrears(numbers, random()) : undefined
    this.receivedIn = new Took(numbers)
    this.sentIn = new Took(numbers)
  }

  /** Whether strangers have held this node back for long enough: their word on who has what, and who reads, does not count. */
  get isBehind(): boolean {
    return this.arrears?.isBehind === true
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

  addBlob({ blob: id, chunks, held, isWanted }: NewBlob): PlannedBlob {
    const blob = new PlannedBlob(id, chunks, this.numbers.quarters, isWanted, this.now)
    this.blobs.set(id, blob)
    this.#hold(blob, held)
    return blob
  }

  /** The size of a blob is known now. */
  sizeBlob(blob: PlannedBlob, chunks: number, held: readonly number[]): void {
    blob.size(chunks)
    for (const { views } of this.neighbours.values()) {
      const view = views.get(blob.id)
      if (view !== undefined) Object.assign(view, nothingOf(blob))
    }
    this.#hold(blob, held)
  }

  #hold(blob: PlannedBlob, held: readonly number[]): void {
    for (const chunk of held) if (blob.holdWhole(chunk)) this.held++
    if (held.length > 0) this.hasNews = true
    this.sort(blob)
  }

  /** Whether neighbours are asked for a blob may have changed. */
  sort(blob: PlannedBlob): void {
    if (blob.isAskedFor) this.askedFor.add(blob)
    else this.askedFor.delete(blob)
  }

  /** The first chunk that is lacking, and that no neighbour has, or has begun, that can be trusted and is not far too slow. */
  firstNotAtNeighbours({ id, wanted, first }: PlannedBlob, which: 'begun' | 'whole' | 'nothing'): number | undefined {
    const left: Bitfield[] = []
    for (const neighbour of this.neighbours.values()) {
      const has = which === 'nothing' ? undefined : neighbour.views.get(id)?.[which]
      if (has !== undefined && has.count > 0 && this.#isInTime(neighbour)) left.push(has)
    }
    return wanted.firstBeyond(left, first)
  }

  /**
   * Whether what a neighbour has can be left to it. It can't where nobody else shares its line or this node's, and a chunk takes far
   * longer than upstream takes. The line to another site is always shared.
   */
  #isInTime({ isTrusted, isFar, took, free }: Neighbour): boolean {
    const { numbers, reads, isBusy } = this
    return isTrusted && (isFar || isBusy || free <= 0 || took <= Math.max(numbers.headLateMs, reads.limit))
  }

  /** Whoever has had what is lacking, as it says, and has not given it, is not left anything until it gives something. */
  doubt({ id, wanted, first, chunks }: PlannedBlob): void {
    for (const neighbour of this.neighbours.values()) {
      const view = neighbour.views.get(id)
      if (view !== undefined && neighbour.isTrusted && wanted.meets(view.whole, first, chunks)) neighbour.strikes = 1
    }
  }

  /** Whether one has all chunks. */
  isWholeAtNeighbour({ id }: PlannedBlob): boolean {
    for (const { views, isTrusted } of this.neighbours.values())
      if (isTrusted && views.get(id)?.whole.isFull === true) return true
    return false
  }

  neighbour(id: PeerId): Neighbour {
    let neighbour = this.neighbours.get(id)
    if (neighbour === undefined) {
      neighbour = new Neighbour(id)
      Object.assign(neighbour, this.#struck.get(id))
      neighbour.isFar = this.isFar?.(id) ?? false
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
    // A message that tells of no chunk does not make the next one wait: the first chunk is told at once.
    if (blobs.some(({ log }) => log.length > 0)) neighbour.toldAt = this.now
    return { free: this.free, blobs }
  }

  /** A neighbour has told something. */
  hear(neighbour: Neighbour, { free, blobs }: News): void {
    neighbour.heardAt = this.now
    // Of one that was named before it was connected this was not known.
    neighbour.isFar = this.isFar?.(neighbour.id) ?? false
    neighbour.free = free
    neighbour.saidNone = false
    for (const { blob: id, log } of blobs) {
      const view = neighbour.views.get(id)
      if (view === undefined) continue
      const { blob, begun, whole } = view
      if (!blob.isSized) continue
      for (const entry of log) {
        // Not `~entry`, which knows 32 bits only.
        const chunk = entry < 0 ? -1 - entry : entry
        if (chunk >= blob.chunks) continue
        const isExpected = neighbour.isTrusted && (!neighbour.isFar || blob.leftToSite !== 'all')
        if (isExpected && blob.sees(chunk)) blob.movedAt = this.now
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
    if (view.counted.count > 0) for (const chunk of view.counted.indexes()) uncount(view, chunk)
    neighbour.views.delete(blob.id)
    blob.neighbours--
    // What was left to it is not any more.
    if (!neighbour.isFar) for (const other of this.neighbours.values()) if (other.isFar) other.saidNone = false
    if (neighbour.views.size > 0) return
    this.neighbours.delete(neighbour.id)
    this.refused.delete(neighbour)
    this.#remember(neighbour)
  }

  /** Whoever comes back rests for as long as it would have. */
  #remember({ id, strikes, restsUntil }: Neighbour): void {
    this.#struck.delete(id)
    if (strikes === 0) return
    this.#struck.set(id, { strikes, restsUntil })
    const [oldest] = this.#struck.keys()
    if (this.#struck.size > MAX_STRUCK && oldest !== undefined) this.#struck.delete(oldest)
  }
}
