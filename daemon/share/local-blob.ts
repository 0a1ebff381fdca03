import type { BlobFacts, PeerId, SharedBlob } from '../swarm/ports.ts'

/** What became of a part that a peer sent; see `Assembly.takeQuarter`. */
export type TakenPart = 'held' | 'there' | 'wrong' | 'unknown'

/** The checkpoints of a blob as far as this node follows them. */
export interface TellableList {
  /** How many inner ones are known: 1 to `known`. */
  readonly known: number
  readonly isComplete: boolean
  /** Those behind the first `from`, 32 bytes each. */
  encode(from: number): Uint8Array
  /** The first `known` ones are signed by whoever reads upstream; undefined where they are not. */
  readonly signed: { readonly known: number; readonly signer: PeerId; readonly bytes: Uint8Array } | undefined
}

/** A blob that this node has, or fetches, as the swarm sees it. */
export interface LocalBlob {
  /** What peers may know; undefined while nobody has told the size. */
  readonly facts: BlobFacts | undefined
  readonly list: TellableList
  /** For serving; undefined where peers can't have it (any more). */
  open(): Promise<SharedBlob | undefined>
}

/** A blob that is being fetched. All its methods return at once. */
export interface FetchedBlob extends LocalBlob {
  /** A peer introduces itself. Its chunks are used once it is followed, see {@link Fetching.follow}. */
  introduced(peer: PeerId, facts: BlobFacts): void
  /** A peer told checkpoints; `from` inner ones come before these. @throws {RangeError} where they can't follow what it told */
  listed(
    peer: PeerId,
    from: number,
    states: Uint8Array,
    signature: { signer: PeerId; bytes: Uint8Array } | undefined,
  ): void
  /** A peer told chunks: numbers of those that are whole, and of those of which it has the first part. */
  told(peer: PeerId, chunk: number, isWhole: boolean): void
  /** A peer takes no part any more, or takes back what it told. */
  parted(peer: PeerId): void
  /** Who reads upstream, as the coordinator says. */
  headed(head: PeerId | undefined): void
  /** Takes a part of a chunk from a peer. Where it can't be kept, the fetch ends. */
  take(peer: PeerId, quarter: number, bytes: Buffer): Promise<TakenPart>
  /** Waits until the part can be verified, for a moment at most. @returns whether it can */
  verifiable(quarter: number): Promise<boolean>
  /** Read from upstream from this quarter on, in the stream that is open where it comes next there. */
  read(quarter: number): void
  /** Read no further. */
  unread(): void
}

/** A fetch's hold on the swarm. */
export interface Fetching {
  /** The size is known, or was wrong: what is held of it, by quarters. */
  sized(size: number, held: Iterable<number>): void
  /** A quarter from upstream, or from an earlier process, is verified. */
  held(quarter: number): void
  /** A chunk from upstream is in the file that can't be verified yet. */
  raw(chunk: number): void
  /** What was held, or told, is not so any more: peers are told anew. @param held quarters that still are */
  lost(held: Iterable<number>): void
  /** The list has grown: more can be verified, and told. */
  listGrew(): void
  /** A peer's chunks may be used from now on, or not. */
  follow(peer: PeerId, isFollowed: boolean): void
  /** Upstream does not give it, or may give it again. */
  readable(isReadable: boolean): void
  /** Peers must not know of it. */
  alone(): void
  /** Quarters that clients wait for who read ranges. */
  urgent(quarters: readonly number[]): void
  /** Peers that announced it. */
  named(peers: Iterable<PeerId>): void
  /** Whether a peer has, or begins to have, something that this node lacks, or may still say so. */
  readonly isPromising: boolean
  /** Whether a part can be expected of a peer that is followed. */
  expects(quarter: number): boolean
  /** Whether strangers have held this node back for so long that nothing is left to them. */
  readonly isBehind: boolean
  /** Peers with whom chunks of it are exchanged. */
  readonly peers: number
  /** It is over. @param isHeld whether the blob is in the store now */
  end(isHeld: boolean): void
}
