import type { Digest } from '../../../proxy/oci/digest.ts'
import type { BlobFacts, PeerId } from '../../swarm/ports.ts'
import type { Message } from '../plan/messages.ts'

/** What a peer says of a blob when it begins to speak of it, and again when it knows more. */
export interface Introduction {
  readonly kind: 'intro'
  /** The sender's number of the blob on this link. */
  readonly number: number
  readonly digest: Digest
  /** Undefined while the sender does not know the size. */
  readonly facts: BlobFacts | undefined
}

/** Checkpoints of a blob. */
export interface ListPart {
  readonly kind: 'list'
  /** The sender's number of the blob on this link. */
  readonly number: number
  /** Inner states that come before these; the first one is number 1. */
  readonly from: number
  /** 32 bytes each. */
  readonly states: Uint8Array
  /** Of the list up to the last of these states; undefined where the list is complete, or where the sender made it. */
  readonly signature: ListSignature | undefined
}

/** Who read the states of a list from upstream, and its word for that. */
export interface ListSignature {
  readonly signer: PeerId
  /** 64 bytes (Ed25519, RFC 8032). */
  readonly bytes: Uint8Array
}

/** What was told of the blob before (chunks, checkpoints) is not so any more; it is introduced anew. */
export interface Retraction {
  readonly kind: 'retract'
  /** The sender's number of the blob on this link. */
  readonly number: number
}

/** One message of a link. */
export type WireMessage = Introduction | ListPart | Retraction | { readonly kind: 'plan'; readonly message: Message }
