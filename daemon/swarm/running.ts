import type { Clones } from './clones.ts'
import type { Discovery } from './discovery/discovery.ts'
import type { FindClient } from './find/client.ts'
import type { Admission } from './gater.ts'
import type { KnownPeers } from './known-peers.ts'
import type { Node } from './node.ts'
import type { Coordination, Links, Names, PeerId } from './ports.ts'
import type { Advertiser } from './router/advertiser.ts'
import type { ProviderRecords } from './router/records.ts'
import type { Routing } from './routing/routing.ts'
import type { TransferClient } from './transfer/client.ts'
import type { OwnPort } from './transfer/own-port.ts'
import type { Reach } from './transfer/reach.ts'

/** What runs between start and stop. */
export interface Parts {
  readonly node: Node
  readonly discovery: Pick<Discovery, 'seeds'>
  readonly clones: Pick<Clones, 'problem'>
  readonly ownPort: Pick<OwnPort, 'problem'>
  readonly admission: Admission
  readonly known: KnownPeers
  readonly reach: Reach
  readonly routing: Routing
  readonly client: TransferClient
  readonly find: FindClient
  readonly records: ProviderRecords
  readonly advertiser: Advertiser
  readonly links: Links
  readonly coordination: Coordination
  readonly names: Names
  /** `host:port` of the transfer server, for each address that it listens at. */
  readonly transferAddress: string
  /** Round-trip time in ms of a peer's fastest connection, once libp2p has measured one. */
  rttOf(peer: PeerId): number | undefined
  /** Ends everything that goes on with a peer. */
  cut(peer: PeerId): void
  /** Bounded, see {@link Shutdown}. */
  stop(): Promise<void>
}
