/** Everything that nodes know of each other's chunks is told in these messages. */

export type PeerId = string
export type BlobId = string

/** A chunk of which the first part is held now, or, as `~chunk`, one that is whole now. */
export type LogEntry = number

/** What became new since the last message to the same neighbour. The first message about a blob tells all that is held. */
export interface BlobNews {
  readonly blob: BlobId
  readonly log: readonly LogEntry[]
}

/** Rides on every message between neighbours. */
export interface News {
  /** Sending places that are free. */
  readonly free: number
  readonly blobs: readonly BlobNews[]
}

/** What an asker lacks of one blob, as far as news does not say it. */
export interface Wish {
  readonly blob: BlobId
  /** The first chunk that it lacks: the window begins here. */
  readonly first: number
  /** Chunks on their way to it. */
  readonly coming: readonly number[]
  /** Chunks on their way that are late: to be chosen when nothing else is of use. */
  readonly late: readonly number[]
  /** Chunks that it holds in part and that nobody brings, with the number of parts. */
  readonly broken: ReadonlyMap<number, number>
}

/** A question: give me what is best. It names no chunk. */
export interface Ask {
  readonly kind: 'ask'
  /** Of the asker, larger each time; the answer repeats it. */
  readonly id: number
  readonly news: News
  readonly wishes: readonly Wish[]
  /** The first chunk from this one on is asked for, also beyond the window; undefined for the sender's choice. */
  readonly oldest: { readonly blob: BlobId; readonly from: number } | undefined
}

/** What precedes the bytes of a chunk. */
export interface Head {
  readonly kind: 'head'
  readonly id: number
  readonly blob: BlobId
  readonly chunk: number
  /** The first part that is sent. */
  readonly quarter: number
  readonly news: News
}

export type Message =
  | { readonly kind: 'news'; readonly news: News }
  | Ask
  | Head
  /** No free place, or nothing of use. */
  | { readonly kind: 'busy' | 'none'; readonly id: number; readonly news: News }
  /** The answer to a question is not wanted any more. */
  | { readonly kind: 'leave'; readonly id: number }
  /** It can't go on. */
  | { readonly kind: 'cut'; readonly id: number }
  /** The sender of this has no room for one more neighbour, or has given the blob up. */
  | { readonly kind: 'bye'; readonly blob: BlobId }

/** What a node tells the coordinator of a blob. */
export interface Want {
  readonly blob: BlobId
  /** Parts of chunks that it has brought from upstream. */
  readonly brought: number
  /**
   * - `part`: it fetches the blob, and can read upstream
   * - `hungry`: the same, and nothing new came to it or its neighbours for a while
   * - `unable`: it fetches the blob, and upstream does not give it
   * - `done`: it has the blob
   * - `soon`: it will probably fetch it soon; it is told who takes part, and given no turn
   * - `gone`: it takes no part any more
   */
  readonly wish: 'part' | 'hungry' | 'unable' | 'done' | 'soon' | 'gone'
  /** Neighbours that it would like to be named. */
  readonly sought: number
  /** Parts of chunks that it has brought from other sites; left out where it knows no site, or asks none. */
  readonly far?: number | undefined
}

/** `head`: read upstream in order; `racer`: read one chunk; `none`: somebody else does. Of other sites the same holds. */
export type Role = 'head' | 'racer' | 'none'

/** What the coordinator of a blob answers, or tells unasked when the role of a node changes. */
export interface Turn {
  readonly blob: BlobId
  readonly role: Role
  /** The part in asking neighbours of other sites, for whoever knows its site. */
  readonly far?: Role | undefined
  /** Who reads upstream; undefined where nobody does. */
  readonly head: PeerId | undefined
  /** Parts that the head has brought. */
  readonly brought: number
  readonly members: readonly PeerId[]
}
