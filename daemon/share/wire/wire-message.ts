import type { Digest } from '../../../proxy/oci/digest.ts'
import type { BlobFacts, PeerId } from '../../swarm/ports.ts'
import type { BlobId, Message } from '../plan/messages.ts'

/** The blob of a head whose number is not known (any more). No blob has this id, so the plan leaves the answer. */
export const UNKNOWN_BLOB: BlobId = ''

/** A peer sends this when it begins to speak of a blob, and again when it knows more. */
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
  /** Of all states up to the last of these. A complete list needs none, nor does one that the sender itself reads upstream. */
  readonly signature: ListSignature | undefined
}

/** Who read the states of a list from upstream, and its word for that. */
export interface ListSignature {
  readonly signer: PeerId
  /** 64 bytes (Ed25519, RFC 8032). */
  readonly bytes: Uint8Array
}

/** Chunks and checkpoints that were told of the blob are not so any more. An introduction follows if it is shared again. */
interface Retraction {
  readonly kind: 'retract'
  /** The sender's number of the blob on this link. */
  readonly number: number
}

/** One message of a link. */
export type WireMessage = Introduction | ListPart | Retraction | { readonly kind: 'plan'; readonly message: Message }
