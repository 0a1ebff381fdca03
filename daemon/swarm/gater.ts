import type { ConnectionGater, PeerId as Libp2pPeerId } from '@libp2p/interface'
import { peerIdFromString } from '@libp2p/peer-id'
import type { Bans } from './bans.ts'
import type { Inbound } from './inbound.ts'
import type { PeerId } from './ports.ts'

/** Says which peers may be connected to, by either side. */
export interface Admission {
  allows(peer: PeerId): boolean
}

/**
 * The allowlist (empty: everybody) and the bans as one decision; the node itself is never a peer.
 * @throws {Error} where an entry of `swarm.allowedPeers` is not a PeerId
 */
export function createAdmission(self: PeerId, allowedPeers: readonly string[], bans: Bans): Admission {
  const allowed = new Set(allowedPeers.map(parseAllowed))
  return { allows: (peer) => peer !== self && (allowed.size === 0 || allowed.has(peer)) && !bans.has(peer) }
}

function parseAllowed(text: string): PeerId {
  try {
    return peerIdFromString(text).toString()
  } catch (cause) {
    throw new Error(`swarm.allowedPeers: "${text}" is not a PeerId such as "12D3KooW…"`, { cause })
  }
}

/**
 * Asks {@link Admission} at each point where the PeerId is proven or about to be dialled (`connectionManager.allow` is not
 * an allowlist), and {@link Inbound} for a place. libp2p itself refuses the node's own PeerId.
 */
export function createGater(
  admission: Admission & { allowsDial?(peer: PeerId): boolean },
  inbound: Inbound,
): ConnectionGater {
  const deny = (peer: Libp2pPeerId) => !admission.allows(peer.toString())
  return {
    denyDialPeer: (peer) => deny(peer) || admission.allowsDial?.(peer.toString()) === false,
    denyInboundConnection: (connection) => !inbound.come(connection),
    denyInboundEncryptedConnection: (peer, connection) => {
      const isDenied = deny(peer)
      if (isDenied) inbound.unwelcome(connection)
      return isDenied
    },
    denyInboundUpgradedConnection: (peer, connection) => !inbound.stay(connection, peer.toString()),
    denyOutboundEncryptedConnection: deny,
  }
}
