import { type Digest, digestOf } from '../../../proxy/oci/digest.ts'
import type { OciError } from '../../../proxy/oci/errors.ts'
import type { ContentOrigin, ContentRequest } from '../../../proxy/ports.ts'
import type { Upstream } from '../../../proxy/upstream/types.ts'
import type { Fetching } from '../../share/local-blob.ts'
import type { Sharing } from '../../share/sharing.ts'
import type { ListSigner } from '../../share/signed-list.ts'
import type { BlobStore } from '../../store/blob-store.ts'
import type { BlobFacts, PeerId, SharedBlob, Swarm } from '../../swarm/ports.ts'
import type { Sha256Engine } from '../../verify/sha256.ts'
import type { AccessControl } from '../access.ts'
import type { Notifier } from '../notifier.ts'
import type { ToldSizes } from '../told-sizes.ts'
import type { Assembly } from './assembly.ts'
import type { KnownSize } from './known-size.ts'
import type { Reading } from './reader.ts'

interface Logger {
  debug(facts: object, message: string): void
  info(facts: object, message: string): void
  warn(facts: object, message: string): void
}

/** Why bytes were of no use. */
export type WasteReason = 'wrong' | 'dropped' | 'duplicate'

/** What all fetches of a node share. */
export interface DownloadTools {
  /** This node, once the swarm runs. */
  readonly self: () => PeerId
  readonly store: Pick<BlobStore, 'partials' | 'has'>
  readonly swarm: Pick<Swarm, 'providers' | 'open' | 'ban'>
  readonly sharing: Pick<Sharing, 'fetch'>
  /** Signs lists of blobs that this node reads from upstream. */
  readonly signer: ListSigner
  readonly upstream: Pick<Upstream, 'open' | 'stat'>
  readonly sizes: ToldSizes
  readonly access: AccessControl
  readonly engine: Sha256Engine
  /** Whether only known peers are in the swarm; private content leaves a node in no other. */
  readonly isClosed: boolean
  /** Whether no peer may hear of what is fetched: of this one fetch, whatever its sources say. */
  readonly isAlone?: boolean
  readonly onFetched: (origin: 'peer' | 'upstream', bytes: number) => void
  /** A blob was proven, of so many bytes; what was held of it before was provisional. */
  readonly onVerified: (bytes: number) => void
  /** A quarter did not fit, was held along a list that was false, or came twice. */
  readonly onWasted: (reason: WasteReason, bytes: number) => void
  /** What is fetched is given to clients, and can't be kept. */
  readonly onUncached: (digest: Digest, error: unknown) => void
  readonly logger: Logger
}

/** What is known of the blob besides its bytes. */
export interface DownloadFacts extends Omit<BlobFacts, 'access'> {
  readonly origin: ContentOrigin
  /** Whether all sources that answered say that anybody may have it: private wins. */
  readonly public: boolean
}

/** What one attempt is given, and whom it tells. */
export interface AttemptOptions {
  readonly tools: DownloadTools
  readonly request: ContentRequest
  /** Peers that are not to be used. */
  readonly excluded: Set<PeerId>
  /** Learned by earlier attempts, and by this one. */
  readonly size: KnownSize
  /** Whether clients wait for the size, which nobody has told yet whose word counts. */
  readonly isSizeSought: () => boolean
  /** Clients that read the blob at present. */
  readonly readings: ReadonlySet<Reading>
  /** What is held of it, for peers. */
  readonly open: () => SharedBlob | undefined
  /** Told when something has changed for clients. */
  readonly onNews: () => void
  /** Told when quarters turned out not to fit, which clients may have got. */
  readonly onDropped: (quarters: readonly number[]) => void
  readonly signal: AbortSignal
}

/** One attempt to fetch one blob, as its parts see it. */
export interface Attempt {
  readonly tools: DownloadTools
  readonly request: ContentRequest
  /** Ends the attempt. */
  readonly signal: AbortSignal
  /** Told whenever something about the blob has changed. */
  readonly changed: Notifier
  /** Undefined until a source has told the size. */
  readonly assembly: Assembly | undefined
  /** Its hold on the swarm, while it runs. */
  readonly sharing: Fetching | undefined
  /** Peers that are not used any more for this blob. */
  readonly excluded: ReadonlySet<PeerId>
  /**
   * A source has answered: the blob is put together from now on.
   * @throws {SizeConflict} where another source told another size
   */
  begin(facts: DownloadFacts, by: PeerId | 'upstream'): Promise<Assembly>
  /** A quarter came to be held; from a peer, or from upstream where it is left out. */
  held(quarter: number, from?: PeerId): void
  /** The list has grown, or was cut. */
  listGrew(): void
  /** Something has changed for clients only. */
  news(): void
  /** Quarters are not held any more. */
  dropped(quarters: readonly number[]): void
  /** Somebody has shown by a quarter which size is right: what is there of another one is worth nothing. */
  provenSize(size: number): void
  /** What a peer said is worth nothing; so is the size, where nobody else told it. */
  distrust(peer: PeerId): void
  /** A peer has a manifest of so many bytes, which is not taken. @returns the reason, which clients are told where nobody has it */
  tooLong(size: number): OciError
  /** A peer has lied: it is used for nothing any more. */
  ban(peer: PeerId, reason: string): void
  /** The attempt can't go on. */
  fail(error: unknown): void
}

/** Of a blob without a byte: whoever tells size 0 for another digest is wrong, before anybody gets an empty answer. */
export const emptyDigest = digestOf(new Uint8Array(0))

/** Sources contradict each other about the size: one of them did not speak of this blob. */
export class SizeConflict extends Error {
  constructor(said: number, known?: number) {
    super(known === undefined ? `a size of ${said} bytes is wrong` : `says ${said} bytes, another source ${known}`)
    this.name = 'SizeConflict'
  }
}

/** Upstream, which did not say how long the blob is, sends more or fewer bytes than peers said. */
export class WrongLength extends SizeConflict {}

/** Nobody says how long the blob is, or the store has no room: it can't be fetched by chunks. */
export class NotByChunks extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'NotByChunks'
  }
}

/** What is under way is of no use to an asker, who has to ask upstream itself. */
export class NotForAsker extends Error {
  constructor(cause?: unknown) {
    super('upstream has to be asked for this very asker', { cause })
    this.name = 'NotForAsker'
  }
}
