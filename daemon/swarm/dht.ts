import type { PeerId, PeerInfo } from '@libp2p/interface'
import { type KadDHT, type KadDHTComponents, kadDHT, passthroughMapper } from '@libp2p/kad-dht'

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
 * The DHT as a libp2p service, by which nodes get to know each other. Each of its answers names up to 20 peers, and libp2p writes each of
 * them to the peer store again; in a small swarm nearly all of them are connected, and most of a lookup's CPU time went there. So those
 * that are connected are not reported.
 * @param isLarge whether the swarm has more nodes than this one may have connections. Then the DHT makes none: it would dial some 15
 *   nodes for each lookup, and its hourly ones are many.
 */
export function createDht(isLarge: () => boolean): (components: KadDHTComponents) => Dht {
  return (components) => {
    const { connectionManager } = components
    const openStream: typeof connectionManager.openStream = async (peer, ...rest) => {
      if (isLarge()) throw new Error('the DHT asks nobody in a large swarm')
      return await connectionManager.openStream(peer as PeerId, ...rest)
    }
    const bounded = new Proxy(connectionManager, {
      get: (target, name) => (name === 'openStream' ? openStream : Reflect.get(target, name)),
    })
    const own = new Proxy(components, {
      get: (target, name) => (name === 'connectionManager' ? bounded : Reflect.get(target, name)),
    })
    // the class is an event target for libp2p's discovery, which its interface does not say
    const dht = create(own) as Dht & EventTarget
    const dispatch = dht.dispatchEvent
    dht.dispatchEvent = (event: CustomEvent<PeerInfo>) =>
      connectionManager.getConnections(event.detail.id).length > 0 || dispatch.call(dht, event)
    return dht
  }
}
