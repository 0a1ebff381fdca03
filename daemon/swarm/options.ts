import type { Ed25519PrivateKey } from '@libp2p/interface'
import type { Logger } from 'pino'
import type { Config } from '../../config/schema.ts'
import type { Digest } from '../../proxy/oci/digest.ts'
import type { NameListener, PeerId, SharedContent } from './ports.ts'
import type { TransferDeadlines } from './transfer/constants.ts'

export interface SwarmOptions {
  readonly config: Config['swarm']
  /** Who the node is; see {@link loadIdentity}. */
  readonly privateKey: Ed25519PrivateKey
  /** Holds the identity (`key`), which is not read here, and the DHT's records (`dht/`). */
  readonly dataDir: string
  readonly content: SharedContent
  /** Digests of complete blobs that may be shared, newest first. Asked for again whenever all are announced anew. */
  readonly held: () => AsyncIterable<Digest>
  /** Told what peers say of names; without one, none are told. */
  readonly names?: NameListener
  readonly log: Logger
  /** Bytes of blobs that went to a peer, as they go. */
  readonly onServed?: (bytes: number) => void
  readonly onBan?: (peer: PeerId, reason: string) => void
  /** For tests; see {@link TransferDeadlines}. */
  readonly deadlines?: TransferDeadlines
  /** For tests: how long a link may be idle, in ms. */
  readonly linkIdleMs?: number
}
