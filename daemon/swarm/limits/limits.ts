import { Inbound, inboundPlaces } from '../inbound.ts'
import type { PeerId } from '../peer-id.ts'
import { Dials } from './dials.ts'
import { PeerLimits } from './peer-limits.ts'
import { StreamLimits } from './stream-limits.ts'

/** What others may make a node do. */
export interface Limits {
  readonly peers: PeerLimits
  readonly streams: StreamLimits
  readonly inbound: Inbound
  readonly dials: Dials
}

/**
 * @param maxConnections `swarm.maxConnections`
 * @param isOpen whether anybody may be in the swarm
 * @param onFlood a peer has exceeded its allowance far; see {@link PeerLimits}
 */
export function createLimits(
  maxConnections: number,
  isOpen: boolean,
  onFlood: (peer: PeerId, reason: string) => void,
): Limits {
  const peers = new PeerLimits({ onFlood, isOpen })
  return {
    peers,
    streams: new StreamLimits(peers),
    inbound: new Inbound({ connections: inboundPlaces(maxConnections) }),
    dials: new Dials(),
  }
}
