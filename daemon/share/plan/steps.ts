import type { BlobId, Message, PeerId, Turn, Want } from './messages.ts'

export interface NewBlob {
  readonly blob: BlobId
  /** How many it has; undefined where nobody has told its size yet. */
  readonly chunks: number | undefined
  /** Those that are here already. */
  readonly held: readonly number[]
  /** Whether it is wanted now; otherwise it is held, or will probably be wanted soon: then others are heard, and nothing is asked for. */
  readonly isWanted: boolean
}

/** What happens to a node. */
export type Event =
  /** Blobs are wanted, or shared: those of an image in one event, as they are asked for in one message. */
  | { readonly kind: 'blobs'; readonly blobs: readonly NewBlob[] }
  /** It is wanted now. Where its size is not known, `isOffered` says whether a neighbour has told that it has all of it. */
  | { readonly kind: 'wanted'; readonly blob: BlobId; readonly isOffered?: boolean }
  /** Its size is known now. */
  | { readonly kind: 'sized'; readonly blob: BlobId; readonly chunks: number; readonly held: readonly number[] }
  /** Peers that have announced the blob, or are known to take part in it. */
  | { readonly kind: 'named'; readonly blob: BlobId; readonly peers: readonly PeerId[] }
  /** A peer is not to be used for this blob: what it says does not fit. */
  | { readonly kind: 'part'; readonly blob: BlobId; readonly peer: PeerId }
  /** Peers must not know of it any more; this node reads it from upstream by itself. */
  | { readonly kind: 'alone'; readonly blob: BlobId }
  /** Chunks that clients wait for now, which are to come before others; in place of those said before. */
  | { readonly kind: 'urgent'; readonly blob: BlobId; readonly chunks: readonly number[] }
  /** A chunk came from upstream that can't be verified yet. It needs to come from nowhere else; `read` tells when it is verified. */
  | { readonly kind: 'raw'; readonly blob: BlobId; readonly chunk: number }
  /** It is neither wanted nor shared any more. */
  | { readonly kind: 'drop'; readonly blob: BlobId }
  | { readonly kind: 'message'; readonly from: PeerId; readonly message: Message }
  /** A part of the answer to question `id` is verified and on disk. */
  | { readonly kind: 'quarter'; readonly from: PeerId; readonly id: number; readonly quarter: number }
  /** The same for a part that upstream sent. */
  | { readonly kind: 'read'; readonly blob: BlobId; readonly chunk: number; readonly quarter: number }
  /** Upstream does not give what was asked of it. */
  | { readonly kind: 'unreadable'; readonly blob: BlobId }
  /** It may give it again. */
  | { readonly kind: 'readable'; readonly blob: BlobId }
  /** The last byte of the answer to question `id` has left. */
  | { readonly kind: 'sent'; readonly to: PeerId; readonly id: number }
  /** A connection is gone. */
  | { readonly kind: 'left'; readonly peer: PeerId }
  /** The coordinator's word. */
  | { readonly kind: 'turn'; readonly turn: Turn }
  /** The time that {@link Plan.wakeAt} gave. */
  | { readonly kind: 'wake' }

/** What the node is to do. */
export type Effect =
  | { readonly kind: 'send'; readonly to: PeerId; readonly message: Message }
  /** Send the chunk from this part on, each part as it is held; then say `sent`. */
  | {
      readonly kind: 'serve'
      readonly to: PeerId
      readonly id: number
      readonly blob: BlobId
      readonly chunk: number
      readonly quarter: number
    }
  /** Stop sending the answer to a question. */
  | { readonly kind: 'stop'; readonly to: PeerId; readonly id: number }
  /** Read this chunk from upstream, in the stream that is open if it is the next one there. */
  | { readonly kind: 'read'; readonly blob: BlobId; readonly chunk: number; readonly quarter: number }
  /** Read no further. */
  | { readonly kind: 'unread'; readonly blob: BlobId }
  /** Tell the coordinators of these blobs, in one message for each coordinator. */
  | { readonly kind: 'want'; readonly wants: readonly Want[] }
