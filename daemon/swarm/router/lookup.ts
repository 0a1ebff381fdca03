import { setMaxListeners } from 'node:events'
import type { Logger } from 'pino'
import type { Digest } from '../../../proxy/oci/digest.ts'
import type { Node } from '../node.ts'
import type { PeerId } from '../ports.ts'
import { keyOf } from './cid.ts'
import { LOOKUP_DEADLINE_MS } from './constants.ts'
import type { Reputation } from './reputation.ts'

interface LookupOptions {
  readonly node: Node
  readonly reputation: Reputation
  readonly admits: (peer: PeerId) => boolean
  readonly log: Logger
}

/**
 * Peers that announced a blob, as the DHT finds them: those in the local records first, then as peers answer. A peer that
 * failed a moment ago comes last. A node without connections finds nobody, at once.
 */
export async function* findProviders(
  { node, reputation, admits, log }: LookupOptions,
  digest: Digest,
  signal: AbortSignal,
): AsyncGenerator<PeerId, void> {
  const seen = new Set<PeerId>()
  const last: PeerId[] = []
  try {
    for await (const peer of announced(node, digest, signal)) {
      if (seen.has(peer) || !admits(peer) || reputation.isAbsent(peer, digest)) continue
      seen.add(peer)
      if (reputation.hasFailed(peer)) last.push(peer)
      else yield peer
    }
  } catch (error) {
    if (!signal.aborted) log.debug({ digest, err: error }, 'a lookup ended early')
  }
  if (!signal.aborted) yield* last
}

async function* announced(node: Node, digest: Digest, signal: AbortSignal): AsyncGenerator<PeerId, void> {
  if (signal.aborted || node.getConnections().length === 0) return
  const either = AbortSignal.any([signal, AbortSignal.timeout(LOOKUP_DEADLINE_MS)])
  // each request of the query listens to it
  setMaxListeners(0, either)
  for await (const event of node.services.dht.findProviders(keyOf(digest), { signal: either })) {
    if (event.name !== 'PROVIDER') continue
    for (const { id } of event.providers) yield id.toString()
  }
}
