import type { BlobId, Message, PeerId, Turn, Want } from './messages.ts'

export interface NewBlob {
  readonly blob: BlobId
  /** How many it has. */
  readonly chunks: number
  /** Those that are here already. */
  readonly held: readonly number[]
}

/** What happens to a node. */
export type Event =
  /** Blobs are wanted, or shared: those of an image in one event, as they are asked for in one message. */
  | { readonly kind: 'blobs'; readonly blobs: readonly NewBlob[] }
  /** It is neither wanted nor shared any more. */
  | { readonly kind: 'drop'; readonly blob: BlobId }
  | { readonly kind: 'message'; readonly from: PeerId; readonly message: Message }
  /** A part of the answer to question `id` is verified and on disk. */
  | { readonly kind: 'quarter'; readonly from: PeerId; readonly id: number; readonly quarter: number }
  /** The same for a part that upstream sent. */
  | { readonly kind: 'read'; readonly blob: BlobId; readonly chunk: number; readonly quarter: number }
  /** Upstream does not give what was asked of it. */
  | { readonly kind: 'unreadable'; readonly blob: BlobId }
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
