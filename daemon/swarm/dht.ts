import { setMaxListeners } from 'node:events'
import type { PeerInfo } from '@libp2p/interface'
import { type KadDHT, type KadDHTComponents, kadDHT, passthroughMapper } from '@libp2p/kad-dht'
import type { PeerId } from './peer-id.ts'

export type Dht = KadDHT

/** A protocol of our own keeps us out of the public IPFS DHT and its nodes out of ours. */
const DHT_PROTOCOL = '/layerd/kad/1.0.0'

/** One unresponsive peer holds up each exhaustive lookup for this long at most (libp2p's default is 5 s and more). */
const REQUEST_TIMEOUT = { minTimeout: 500, maxTimeout: 3000 }

const create = kadDHT({
  protocol: DHT_PROTOCOL,
  clientMode: false,
  // the mappers of libp2p drop DNS names and either public or private addresses
  peerInfoMapper: passthroughMapper,
  initialQuerySelfInterval: 10,
  // a node that is alone answers at once instead of waiting for company
  allowQueryWithZeroPeers: true,
  networkDialTimeout: REQUEST_TIMEOUT,
  // router/advertiser.ts provides again in time and at its own pace; the library only cleans up
  reprovide: { threshold: 0, concurrency: 1 },
})

/**
 * The DHT as a libp2p service. Each of its answers names up to 20 peers, and libp2p writes each of them to the peer store
 * again; in a small swarm nearly all of them are connected, and most of a lookup's CPU time went there. So those that are
 * connected are not reported.
 */
export function createDht(components: KadDHTComponents): Dht {
  // the class is an event target for libp2p's discovery, which its interface does not say
  const dht = create(components) as Dht & EventTarget
  const dispatch = dht.dispatchEvent
  dht.dispatchEvent = (event: CustomEvent<PeerInfo>) =>
    components.connectionManager.getConnections(event.detail.id).length > 0 || dispatch.call(dht, event)
  return dht
}

/**
 * The peers nearest to a key, connected or not: those that kad-dht's own lookup ends at.
 * @param key a multihash, or anything else that is hashed to its place
 */
export async function* closestOnDht(
  dht: Pick<Dht, 'getClosestPeers'>,
  key: Uint8Array,
  signal: AbortSignal,
): AsyncGenerator<PeerId, void> {
  // each request of the query listens to it
  setMaxListeners(0, signal)
  for await (const event of dht.getClosestPeers(key, { signal })) {
    if (event.name === 'FINAL_PEER') yield event.peer.id.toString()
  }
}
