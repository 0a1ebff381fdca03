import type { Digest } from '../../proxy/oci/digest.ts'

/** Whether anybody may have a blob, or only those whom its registry lets read the repository. */
export type Access = 'public' | 'private'

/** The text form of a libp2p PeerId. */
export type PeerId = string

/** What a node knows of a tag: which digest upstream last gave for it, and when. */
export interface TagConfirmation {
  readonly digest: Digest
  /** ms since the epoch, by the clock of the node that asked upstream. */
  readonly confirmedAt: number
}

/** Content of this node that peers may have: complete, and public or shared with a closed swarm. */
export interface SharedBlob {
  /** Bytes. */
  readonly size: number
  readonly mediaType: string | undefined
  /** `private` content is told so to the peer (header `Layerd-Access`), which then asks upstream who may have it. */
  readonly access: Access
  /** `registry/repository` that it was found in, most recent last; told for private content only. */
  readonly repositories: readonly string[]
  /** Bytes `start` to `end` inclusive. A chunk is valid until the next one is asked for. */
  read(start: number, end: number, signal: AbortSignal): AsyncIterable<Uint8Array>
  close(): Promise<void>
}

/** What the swarm serves to peers; the composition root implements it over the store. */
export interface SharedContent {
  /** Opens a blob that may be shared; undefined where there is none. */
  open(digest: Digest): Promise<SharedBlob | undefined>
  /** What peers may know of a tag; `reference` is `registry/repository:tag`. */
  tag(reference: string): Promise<TagConfirmation | undefined>
}

/** A blob that a peer has begun to send. */
export interface PeerBody {
  /** Size of the whole blob in bytes. */
  readonly size: number
  readonly mediaType: string | undefined
  readonly access: Access
  /** Repositories that the peer found private content in; none for public content. */
  readonly repositories: readonly string[]
  /** Bytes from the offset asked for to the end; throws {@link PeerError} where the peer fails. */
  readonly body: AsyncIterable<Uint8Array>
}

/**
 * - `absent`: the peer does not have the blob (any more)
 * - `busy`: it has no upload free
 * - `failed`: it can't be reached, stalls, sends too little or vanishes
 * - `aborted`: the caller's signal
 */
export type PeerErrorCode = 'absent' | 'busy' | 'failed' | 'aborted'

export class PeerError extends Error {
  readonly code: PeerErrorCode
  readonly peer: PeerId

  constructor(code: PeerErrorCode, peer: PeerId, message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'PeerError'
    this.code = code
    this.peer = peer
  }
}

export interface SwarmStatus {
  readonly peerId: PeerId
  readonly multiaddrs: readonly string[]
  /** `host:port` of the transfer server. */
  readonly transfer: string
  readonly peers: readonly {
    readonly peerId: PeerId
    readonly address: string
    /** Whether the peer told its transfer certificate, so that blobs can move. */
    readonly transfer: boolean
    readonly rttMs: number | undefined
  }[]
  readonly banned: readonly { readonly peerId: PeerId; readonly until: number; readonly reason: string }[]
  readonly provided: number
  readonly provideQueue: number
}

/** The peer: what `fetch` and the composition root see of it. */
export interface Swarm {
  start(): Promise<void>
  /** Bounded to a few seconds. */
  stop(): Promise<void>
  /**
   * Peers that announced the digest and are not banned, as the DHT finds them, each once, without this node. Ends when the
   * lookup is exhausted or the signal is aborted; it does not throw.
   */
  providers(digest: Digest, signal: AbortSignal): AsyncIterable<PeerId>
  /** Starts a transfer from a peer at `offset`. @throws {PeerError} */
  open(peer: PeerId, digest: Digest, offset: number, signal: AbortSignal): Promise<PeerBody>
  /** Size and type of a peer's blob, without its bytes. @throws {PeerError} */
  stat(peer: PeerId, digest: Digest, signal: AbortSignal): Promise<Omit<PeerBody, 'body'>>
  /** What peers know of a tag (`registry/repository:tag`), until the signal is aborted or all have answered. */
  tags(reference: string, signal: AbortSignal): Promise<readonly TagConfirmation[]>
  /** Queues a blob to be announced on the DHT; returns at once. `priority` is for what was completed just now. */
  advertise(digest: Digest, priority: boolean): void
  /** Takes a blob back before it is deleted. Bounded to a second; never throws. */
  withdraw(digest: Digest): Promise<void>
  /** Leaves a peer alone for a time, because of what it sent. */
  ban(peer: PeerId, reason: string): void
  status(): SwarmStatus
}
