import type { Logger } from 'pino'
import { ANNOUNCE_PROTOCOL, MAX_ANNOUNCE_STREAMS } from './announce/constants.ts'
import { announceServer } from './announce/server.ts'
import { MAX_SHARE_STREAMS, SHARE_PROTOCOL } from './coordination/constants.ts'
import type { PeerCoordination } from './coordination/coordination.ts'
import { FIND_PROTOCOL, MAX_FIND_STREAMS } from './find/constants.ts'
import { findServer } from './find/server.ts'
import { sayHello } from './hello/client.ts'
import { FINDING_PROTOCOL, HELLO_PROTOCOL, MAX_FINDING_STREAMS, MAX_HELLO_STREAMS } from './hello/constants.ts'
import type { Hello } from './hello/message.ts'
import { helloServer } from './hello/server.ts'
import { Versions } from './hello/versions.ts'
import type { KnownPeers } from './known-peers.ts'
import { MAX_NAMES_STREAMS, NAMES_PROTOCOL } from './names/constants.ts'
import type { NameExchange } from './names/exchange.ts'
import type { Node } from './node.ts'
import type { RecordStore } from './router/record-store.ts'
import type { ProviderRecords } from './router/records.ts'
import type { OwnPort } from './transfer/own-port.ts'
import type { Places } from './transfer/places.ts'

interface ProtocolsOptions {
  readonly node: Node
  /** What this node says of itself. */
  readonly hello: Hello
  readonly known: KnownPeers
  readonly places: Places
  readonly records: ProviderRecords
  readonly recordStore: RecordStore
  readonly ownPort: Pick<OwnPort, 'handler'>
  readonly coordination: Pick<PeerCoordination, 'handler'>
  readonly names: Pick<NameExchange, 'handler'>
  readonly log: Logger
  /** Aborted when the node stops. */
  readonly signal: AbortSignal
}

/** Answers what peers ask on libp2p streams, and says hello on each connection that this node opens. To be called before it starts. */
export async function serveProtocols(options: ProtocolsOptions): Promise<void> {
  const { node, hello, known, places, records, recordStore, ownPort, coordination, names, log, signal } = options
  const versions = new Versions(log)
  const findProviders = findServer((key, limit) => records.local(key, limit), log)
  const protocols = [
    [HELLO_PROTOCOL, helloServer(hello, known, places, versions, log), MAX_HELLO_STREAMS],
    [FIND_PROTOCOL, findProviders, MAX_FIND_STREAMS],
    [ANNOUNCE_PROTOCOL, announceServer(recordStore, log), MAX_ANNOUNCE_STREAMS],
    [FINDING_PROTOCOL, ownPort.handler, MAX_FINDING_STREAMS],
    [SHARE_PROTOCOL, coordination.handler, MAX_SHARE_STREAMS],
    [NAMES_PROTOCOL, names.handler, MAX_NAMES_STREAMS],
  ] as const
  for (const [protocol, handler, maxInboundStreams] of protocols)
    await node.handle(protocol, handler, { maxInboundStreams })
  node.addEventListener('connection:open', ({ detail: connection }) => {
    if (connection.direction === 'outbound') void sayHello(connection, hello, known, places, versions, log, signal)
  })
}
