import { noise } from '@chainsafe/libp2p-noise'
import { type Identify, identify } from '@libp2p/identify'
import type { ConnectionGater, Libp2p, PrivateKey, ServiceMap } from '@libp2p/interface'
import { type Ping, ping } from '@libp2p/ping'
import { preSharedKey } from '@libp2p/pnet'
import { tcp } from '@libp2p/tcp'
import { yamux } from '@libp2p/yamux'
import { type Multiaddr, multiaddr } from '@multiformats/multiaddr'
import { createLibp2p } from 'libp2p'
import type { Logger } from 'pino'
import type { Config, ListenAddress } from '../../config/schema.ts'
import { formatAddress } from '../../config/units.ts'
import type { SwarmDatastore } from './datastore.ts'
import { createDht, type Dht } from './dht.ts'
import { DialOrder } from './discovery/address-order.ts'
import type { Handshakes } from './handshakes.ts'
import { inboundPlaces, MAX_HANDSHAKES } from './inbound.ts'
import { libp2pLogger } from './libp2p-log.ts'
import type { Dials } from './limits/dials.ts'
import type { Limits } from './limits/limits.ts'
import { MulticastDns } from './mdns/mdns.ts'
import { OwnAddresses } from './own-addresses.ts'

interface Services extends ServiceMap {
  identify: Identify
  ping: Ping
  dht: Dht
  ownAddresses: OwnAddresses
  limits: object
}

export type Node = Libp2p<Services>

interface NodeOptions {
  readonly config: Config['swarm']
  /** What to listen at, as {@link usableBindings} gives it. */
  readonly listen: readonly ListenAddress[]
  readonly privateKey: PrivateKey
  readonly datastore: SwarmDatastore
  readonly swarmKey: Uint8Array | undefined
  readonly gater: ConnectionGater
  readonly handshakes: Handshakes
  readonly limits: Pick<Limits, 'streams' | 'dials'>
  /** Whether the swarm has more nodes than this one may have connections; it never has where this is left out. */
  readonly isLarge?: () => boolean
  readonly log: Logger
}

const HOUR_MS = 3600_000

/** Peers that were not seen for this long are forgotten; until then they are dialled after a restart. */
const MAX_PEER_AGE_MS = 30 * 24 * HOUR_MS

/** Until a dialled address answers: a LAN or a data centre, not the planet. */
const DIAL_TIMEOUT_MS = 3000

/**
 * How often the round trip to each connected peer is measured. For each ping libp2p opens a stream, and writes to the peer store at
 * both ends; every 10 s, as it does by itself, that is a lot for a number which only orders peers.
 */
const PING_INTERVAL_MS = 60_000

/** Receive window of a stream; the read buffer is larger, because libp2p resets a paused stream that overflows it. */
const STREAM_WINDOW_BYTES = 2 * 2 ** 20
const STREAM_BUFFER_BYTES = 8 * 2 ** 20

/** What waits for a peer that does not read; a stream is reset beyond it. libp2p has no bound of its own. */
const STREAM_UNSENT_BYTES = 8 * 2 ** 20

/**
 * Creates the libp2p node, not started. It listens at `listen` and speaks TCP, noise and yamux, with the swarm's own
 * DHT in server mode.
 * @throws {Error} where `swarm.announce` has an entry that is not a multiaddr
 */
export async function createNode({
  config,
  listen,
  privateKey,
  datastore,
  swarmKey,
  gater,
  handshakes,
  limits: { streams, dials },
  isLarge = () => false,
  log,
}: NodeOptions): Promise<Node> {
  // Above the bounds of `limits.inbound`, which alone decides: libp2p refuses whoever comes last, so that one address that takes all
  // places keeps the others out.
  const libp2pBound = 2 * (MAX_HANDSHAKES + inboundPlaces(config.maxConnections))
  return await createLibp2p<Services>({
    start: false,
    privateKey,
    datastore,
    addresses: {
      listen: listen.map(listenMultiaddr),
      announce: config.announce.map((text) => parseAnnounce(text).toString()),
    },
    transports: [dialledWith(dials)],
    connectionEncrypters: [streams.encrypter(handshakes.encrypter(noise()))],
    streamMuxers: [
      streams.muxer(
        yamux({
          streamOptions: {
            maxStreamWindowSize: STREAM_WINDOW_BYTES,
            maxReadBufferLength: STREAM_BUFFER_BYTES,
            maxWriteBufferLength: STREAM_UNSENT_BYTES,
          },
        }),
      ),
    ],
    connectionProtector: handshakes.protector(swarmKey === undefined ? undefined : preSharedKey({ psk: swarmKey })),
    connectionGater: gater,
    connectionManager: {
      maxConnections: libp2pBound,
      inboundConnectionThreshold: Number.MAX_SAFE_INTEGER,
      maxIncomingPendingConnections: libp2pBound,
      dialTimeout: DIAL_TIMEOUT_MS,
      addressDialTimeout: DIAL_TIMEOUT_MS,
      addressSorter: new DialOrder().compare,
      // discovery/dialer.ts keeps peers connected; libp2p's own loop gives up after five failures
      reconnectRetries: 0,
    },
    // a busy node answers pings late, and a connection that carries transfers is not to be cut for that
    connectionMonitor: { abortConnectionOnPingFailure: false, pingInterval: PING_INTERVAL_MS },
    // addresses would vanish after an hour, even of connected peers
    peerStore: { maxAddressAge: Number.POSITIVE_INFINITY, maxPeerAge: MAX_PEER_AGE_MS },
    peerDiscovery: config.mdns ? [(components) => new MulticastDns(components, log)] : [],
    services: {
      // The first one: it sees what others handle.
      limits: (components) => streams.service(components),
      identify: identify(),
      ping: ping(),
      dht: createDht(isLarge),
      ownAddresses: (components) => new OwnAddresses(components),
    },
    logger: libp2pLogger(log),
  })
}

/** TCP, whose dials are bounded. */
function dialledWith(dials: Dials): ReturnType<typeof tcp> {
  const create = tcp()
  return (components) => {
    const transport = create(components)
    const dial = transport.dial.bind(transport)
    transport.dial = (address, options) => dials.dial(address, () => dial(address, options))
    return transport
  }
}

function listenMultiaddr({ host, port }: ListenAddress): string {
  return multiaddr(`/${host.includes(':') ? 'ip6' : 'ip4'}/${host}/tcp/${port}`).toString()
}

function parseAnnounce(text: string): Multiaddr {
  try {
    return multiaddr(text)
  } catch (cause) {
    throw new Error(`swarm.announce: "${text}" is not a multiaddr such as /ip4/203.0.113.5/tcp/4050`, { cause })
  }
}

/** Starts the node. @throws {Error} that names the option, where the address can't be used */
export async function startNode(node: Node, listen: readonly ListenAddress[]): Promise<void> {
  try {
    await node.start()
  } catch (cause) {
    const texts = listen.map(formatAddress)
    throw new Error(`swarm.listen: can't listen on ${texts.join(', ')}: ${(cause as Error).message}`, { cause })
  }
}
