import type { Digest } from '../../proxy/oci/digest.ts'
import type { ByteRange } from '../../proxy/oci/range.ts'
import type { PeerId } from './peer-id.ts'

/** Whether anybody may have a blob, or only those whom its registry lets read the repository. */
export type Access = 'public' | 'private'

export type { PeerId }

/** What upstream has said of a tag to one node, which has signed it (`share/signed-tag.ts`). Others pass it on as it is. */
export interface SignedTag {
  readonly digest: Digest
  /** Of the manifest, where upstream named one. */
  readonly mediaType: string | undefined
  /** When upstream said so, in ms since the epoch, by the signer's clock. */
  readonly at: number
  readonly signer: PeerId
  readonly signature: Uint8Array
}

/** What a node knows of a tag. */
export interface TagConfirmation extends SignedTag {
  /** When upstream said so, in ms since the epoch by this node's clock: it was told how long ago that was. */
  readonly confirmedAt: number
}

/** What a peer says of a tag. Nothing of it is looked at yet. */
export interface ToldTag extends TagConfirmation {
  readonly peer: PeerId
}

/** What is known of a blob besides its bytes. */
export interface BlobFacts {
  /** Bytes. */
  readonly size: number
  readonly mediaType: string | undefined
  /** `private` content is told so to the peer (header `Layerd-Access`), which then asks upstream who may have it. */
  readonly access: Access
  /** `registry/repository` that it was found in, most recent last; told for private content only. */
  readonly repositories: readonly string[]
}

/** Content of this node that peers may have: held or still arriving, and public or shared with a closed swarm. */
export interface SharedBlob extends BlobFacts {
  /** Whether all these bytes (inclusive) are held, or will be within `ms`: waits for that. */
  has(start: number, end: number, ms: number): Promise<boolean>
  /** Bytes `start` to `end` inclusive. A chunk is valid until the next one is asked for. */
  read(start: number, end: number, signal: AbortSignal): AsyncIterable<Uint8Array>
  close(): Promise<void>
}

/** What the swarm serves to peers; the composition root implements it over the store and the fetches under way. */
export interface SharedContent {
  /** Opens a blob that may be shared; undefined where there is none. */
  open(digest: Digest): Promise<SharedBlob | undefined>
  /** What peers may know of a tag; `reference` is `registry/repository:tag`. */
  tag(reference: string): Promise<TagConfirmation | undefined>
}

/** Bytes of a blob that a peer has begun to send. */
export interface PeerBody extends BlobFacts {
  /** The bytes asked for; throws {@link PeerError} where the peer fails. */
  readonly body: AsyncIterable<Uint8Array>
}

/** What comes with a part of an answer. */
export interface PartHead {
  /** Number of the question, of the one who asked it. */
  readonly id: number
  /** Which part of the chunk it is. */
  readonly quarter: number
}

/** Told what peers send by their links, and what coordinators and those who ask them say. */
export interface ShareListener {
  /** A message, in the order in which the peer sent it; its memory is valid until this returns. What it throws ends the link. */
  message(peer: PeerId, bytes: Uint8Array): void
  /**
   * A part of an answer is here, whole. Its memory is valid until the promise settles; one more part is read meanwhile, and then
   * no more. What it rejects with ends the link.
   */
  part(peer: PeerId, head: PartHead, bytes: Buffer): Promise<void>
  /** Bytes of parts moved. */
  moved(peer: PeerId, direction: 'in' | 'out', bytes: number): void
  /** The link is gone, or can't be made. What was sent and not answered may be lost. */
  gone(peer: PeerId): void
  /** A message about claims, from one who asks this node as a coordinator, or from a coordinator. What it throws cuts the peer off. */
  claim(peer: PeerId, message: unknown): void
  /** A peer can be told and asked from now on. */
  joined(peer: PeerId): void
  /** A peer is not connected any more. */
  left(peer: PeerId): void
}

/**
 * A link with a peer: messages in order, and parts of answers beside them, so that no message waits behind bulk in this node. It is
 * made when something is sent first, by either side; and ends when nothing went over it for a minute.
 */
export interface Links {
  /** Sends a message; never throws. Where the peer can't be reached, or does not read, the listener hears that the link is gone. */
  send(peer: PeerId, message: Uint8Array): void
  /**
   * Sends a part of an answer; the memory may be used again when it settles. Resolves when the system has taken all of it.
   * @throws {Error} where the link is gone, or the signal's reason; what was sent of the part is of no use then
   */
  sendPart(peer: PeerId, head: PartHead, bytes: Uint8Array, signal: AbortSignal): Promise<void>
}

/** Who says which node reads a blob from upstream. */
export interface Coordination {
  /** The peers nearest to a blob's key, this node among them, nearest first. All nodes that see the same peers get the same. */
  coordinators(digest: Digest): Promise<readonly PeerId[]>
  /** Who has announced a blob, by the records that this node keeps; this node, too. Costs no message. */
  recorded(digest: Digest): Promise<readonly PeerId[]>
  /**
   * The same, for the blob's coordinator. Where its records say nothing, which may be because it has just come near the key, the next
   * nearest are asked for theirs, and waited for for half a second at most.
   */
  announced(digest: Digest): Promise<readonly PeerId[]>
  /** Tells a connected peer something about claims (CBOR). @throws {Error} where it can't be told */
  tell(peer: PeerId, message: object): Promise<void>
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

export interface SeedStatus {
  /** As it is configured. */
  readonly seed: string
  readonly reached: boolean
  /** Whether nothing but this node itself is there. */
  readonly isSelf: boolean
  /** Why it was not reached last. */
  readonly problem: string | undefined
}

/** What keeps the node from its peers, for a person. */
export interface SwarmProblem {
  /** `seeds`: none of them answers. `identity`: another machine has this node's key. `transfer`: peers can't reach its port. */
  readonly kind: 'seeds' | 'identity' | 'transfer'
  readonly text: string
}

export interface SwarmStatus {
  readonly peerId: PeerId
  readonly multiaddrs: readonly string[]
  /** `host:port` of the transfer server. */
  readonly transfer: string
  /** Where else it is, as peers are told (`swarm.transferAnnounce`). */
  readonly transferAnnounce: readonly string[]
  readonly peers: readonly {
    readonly peerId: PeerId
    readonly address: string
    /** Whether the peer told its transfer certificate and its transfer port can be reached, so that blobs can move from it. */
    readonly transfer: boolean
    /** `host:port` at which its transfer server is, as far as is known: of several that it has told, the one that answered. */
    readonly transferAddress: string | undefined
    /** Why its transfer port can't be used, and which one is to be opened; undefined where nothing is known against it. */
    readonly transferProblem: string | undefined
    readonly rttMs: number | undefined
  }[]
  readonly seeds: readonly SeedStatus[]
  /** Empty where all is well, as far as the node knows. */
  readonly problems: readonly SwarmProblem[]
  readonly banned: readonly { readonly peerId: PeerId; readonly until: number; readonly reason: string }[]
  readonly provided: number
  readonly provideQueue: number
}

/** What a node says of a name in the registry that it pushes to, as it goes from node to node. The swarm looks at its form only. */
export interface SignedName {
  /** Whose key has signed it. */
  readonly publisher: PeerId
  /** Without a registry. */
  readonly repository: string
  /** A tag; or the digest of a manifest that refers to another one and has no tag. */
  readonly reference: string
  /** What it is now; undefined where it was deleted. */
  readonly digest: Digest | undefined
  readonly mediaType: string | undefined
  /** Bytes of the manifest. */
  readonly size: number
  /** What the manifest refers to. */
  readonly subject: Digest | undefined
  readonly artifactType: string | undefined
  /** Greater than all that its publisher had seen of the name: the highest counts, whatever clocks say. */
  readonly sequence: number
  /** By the publisher's clock, in ms since the epoch, and later than all that it has said before: what it said last is kept. */
  readonly at: number
  readonly signature: Uint8Array
}

/** Who knows what names mean. */
export interface NameListener {
  /** A peer passes records on. What it throws is a fault of the peer. */
  named(peer: PeerId, names: readonly SignedName[]): void
  /** What a peer may hear of one publisher. */
  namesFor(peer: PeerId, publisher: PeerId): Iterable<SignedName>
  /** Sums of that, for each publisher. */
  sumsFor(peer: PeerId): Iterable<readonly [publisher: PeerId, sum: Uint8Array]>
  /** Whether a peer that tells the sum of a publisher may know something of it that is not known here, and that is of use. */
  wants(peer: PeerId, publisher: PeerId, sum: Uint8Array): boolean
}

/** Telling connected peers of names. */
export interface Names {
  /** Tells all peers, but for the one that it came from. */
  tell(name: SignedName, except?: PeerId): void
  /** Asks for what somebody has published: that one, or where it is away all peers. */
  ask(publisher: PeerId): void
}

/** Bytes from `start` on, to `end` (inclusive) or the last. */
export type OpenRange = Pick<ByteRange, 'start'> & Partial<ByteRange>

/** The peer: what `fetch` and the composition root see of it. */
export interface Swarm {
  /** This node, while it runs. */
  readonly self: PeerId
  start(): Promise<void>
  /** Bounded to a few seconds. */
  stop(): Promise<void>
  /**
   * Peers that announced the digest and are not banned, as the DHT finds them, each once, without this node. Ends when the
   * lookup is exhausted or the signal is aborted; it does not throw.
   */
  providers(digest: Digest, signal: AbortSignal): AsyncIterable<PeerId>
  /** Starts a transfer of a range from a peer; to the last byte where it has no end. @throws {PeerError} */
  open(peer: PeerId, digest: Digest, range: OpenRange, signal: AbortSignal): Promise<PeerBody>
  /** Size and type of a peer's blob, without its bytes. @throws {PeerError} */
  stat(peer: PeerId, digest: Digest, signal: AbortSignal): Promise<BlobFacts>
  /**
   * What peers say of a tag (`registry/repository:tag`), until the signal is aborted or all have answered.
   * @param of who is asked; the nearest ones where it is left out
   */
  tags(reference: string, signal: AbortSignal, of?: readonly PeerId[]): Promise<readonly ToldTag[]>
  /** Queues a blob to be announced to peers; returns at once. `priority` is for what was completed just now. */
  advertise(digest: Digest, priority: boolean): void
  /** Takes a blob back before it is deleted. Bounded to a second; never throws. */
  withdraw(digest: Digest): Promise<void>
  /** The site that a connected peer has told, or this node's own; undefined where none is known. */
  siteOf(peer: PeerId): string | undefined
  /** Whether nothing is known against fetching from a peer: its transfer port has not been found closed. */
  canGive(peer: PeerId): boolean
  /** Leaves a peer alone for a time, because of what it sent. */
  ban(peer: PeerId, reason: string): void
  status(): SwarmStatus
  /** Whoever shares blobs; to be set before `start`. */
  listen(listener: ShareListener): void
  readonly links: Links
  readonly coordination: Coordination
  readonly names: Names
}
