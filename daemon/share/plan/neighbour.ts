import { Bitfield } from '../../verify/bitfield.ts'
import type { PlannedBlob } from './blob.ts'
import type { Ask, BlobId, PeerId } from './messages.ts'

/** What a neighbour holds of one blob, as it told. */
export interface View {
  readonly blob: PlannedBlob
  /** Chunks of which it has the first part, or all. */
  begun: Bitfield
  whole: Bitfield
  /** Chunks for which it is counted in {@link PlannedBlob.copies}: as told, or because they are sent to it. */
  counted: Bitfield
  /** How much of our log it was told; -1 before the first message. */
  cursor: number
  /** Whether a part of the blob has come from it. */
  hasGiven: boolean
}

/** A question to a neighbour, and its answer: one chunk. */
export interface Answer {
  id: number
  /** What comes; undefined until the head is here. */
  blob: PlannedBlob | undefined
  chunk: number
  /** When it was asked, or the answer before it was whole; in ms. */
  since: number
  isLate: boolean
  /** Whether any part of it has come. */
  hasBegun: boolean
  /** Whether the oldest chunk was asked for. */
  isOldest: boolean
}

/** A neighbour that takes a receiving place. The pair stays together for some chunks. */
export interface Receiving {
  readonly from: Neighbour
  /** What comes, and the next one when it was asked for before that has ended. */
  answers: Answer[]
  /** Chunks until the pair parts. */
  left: number
}

/** An answer that is being sent. */
export interface Sending {
  readonly to: Neighbour
  id: number
  blob: PlannedBlob
  chunk: number
  since: number
  /** Whether it is so late that it does not count as a copy. */
  isLate: boolean
  /** The next question, which came before the end of this answer. */
  next: Ask | undefined
}

/** A peer with which chunks are exchanged. */
export class Neighbour {
  readonly id: PeerId
  readonly views = new Map<BlobId, View>()
  /** Whether it is at another site. */
  isFar = false
  receiving: Receiving | undefined
  sending: Sending | undefined
  /** Sending places that it has, as told, less the questions asked since. */
  free = 0
  /** Whether it was ever asked for anything. */
  isTried = false
  /** It had nothing of use, and has told nothing new since. */
  saidNone = false
  /** It is not asked before this time, in ms. */
  restsUntil = 0
  /** Answers in a row that ended in silence, or before the first part. */
  strikes = 0
  /** What its last chunk took, in ms: its part, where others came at the same time; 0 while none has come. */
  took = 0
  /** Our free sending places, as it was told last. */
  toldFree = -1
  /** When it told anything last, in ms. */
  heardAt = Number.NEGATIVE_INFINITY
  /** When it was told of a chunk last, in ms. */
  toldAt = Number.NEGATIVE_INFINITY

  constructor(id: PeerId) {
    this.id = id
  }

  /** Whether what it says that it has can be expected of it: since its last silence it has given a chunk. */
  get isTrusted(): boolean {
    return this.strikes === 0
  }

  /** Whether it lacks anything, and so has a use for news. */
  get lacks(): boolean {
    for (const { whole } of this.views.values()) if (!whole.isFull) return true
    return false
  }

  view(blob: PlannedBlob): View {
    let view = this.views.get(blob.id)
    if (view === undefined) {
      view = { blob, ...nothingOf(blob), cursor: -1, hasGiven: false }
      this.views.set(blob.id, view)
      blob.neighbours++
    }
    return view
  }
}

/** Whether a neighbour can give something of a chunk: its first part where none is here, all of one that is here in part. */
export function canGive({ blob, begun, whole }: View, chunk: number): boolean {
  return blob.partsOf(chunk) === 0 ? begun.has(chunk) : whole.has(chunk)
}

/** What a view says of a neighbour that has told nothing. */
export function nothingOf({ chunks }: PlannedBlob): Pick<View, 'begun' | 'whole' | 'counted'> {
  return { begun: new Bitfield(chunks), whole: new Bitfield(chunks), counted: new Bitfield(chunks) }
}

/** A neighbour has a chunk, or will have it soon. */
export function count({ blob, counted }: View, chunk: number): void {
  if (counted.set(chunk)) blob.copies[chunk] = (blob.copies[chunk] ?? 0) + 1
}

/** It will not have it, unless it says that it has. */
export function uncount({ blob, counted, begun }: View, chunk: number): void {
  if (begun.has(chunk) || !counted.clear(chunk)) return
  blob.copies[chunk] = (blob.copies[chunk] ?? 1) - 1
}
