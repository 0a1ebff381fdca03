import type { Logger } from 'pino'
import type { Digest } from '../../../proxy/oci/digest.ts'
import type { FindClient } from '../find/client.ts'
import { ANSWER_TIMEOUT_MS, MAX_PROVIDERS, PEERS_TO_ASK } from '../find/constants.ts'
import { nearestPeers } from '../find/nearest.ts'
import type { KnownPeers } from '../known-peers.ts'
import type { Node } from '../node.ts'
import type { PeerId } from '../ports.ts'
import type { Routing } from '../routing/routing.ts'
import { asTheyArrive } from './arrivals.ts'
import { hashOf, multihashOf } from './cid.ts'
import { ROUTED_MS } from './constants.ts'
import type { ProviderRecords } from './records.ts'
import type { Reputation } from './reputation.ts'

interface LookupOptions {
  readonly node: Pick<Node, 'getPeers'>
  readonly records: ProviderRecords
  readonly routing: { readonly isLarge: boolean; readonly router: Pick<Routing['router'], 'find'> }
  readonly known: KnownPeers
  readonly find: FindClient
  readonly reputation: Reputation
  readonly admits: (peer: PeerId) => boolean
  readonly log: Logger
}

/**
 * Peers that announced a blob: those in the local records first, then as peers answer. A peer that failed a moment ago or is
 * not connected comes last. In a large swarm the node nearest to the blob's key is asked, wherever it is. A node without connections finds nobody, at once.
 */
export async function* findProviders(
  options: LookupOptions,
  digest: Digest,
  signal: AbortSignal,
): AsyncGenerator<PeerId, void> {
  const { reputation, admits, log } = options
  const seen = new Set<PeerId>()
  const last: PeerId[] = []
  try {
    for await (const peer of announced(options, digest, signal)) {
      if (seen.has(peer) || !admits(peer) || reputation.isAbsent(peer, digest)) continue
      seen.add(peer)
      if (reputation.hasFailed(peer) || options.known.get(peer) === undefined) last.push(peer)
      else yield peer
    }
  } catch (error) {
    if (!signal.aborted) log.debug({ digest, err: error }, 'a lookup ended early')
  }
  // Also where the time is over.
  yield* last
}

async function* announced(
  { node, records, known, find, routing }: LookupOptions,
  digest: Digest,
  signal: AbortSignal,
): AsyncGenerator<PeerId, void> {
  if (signal.aborted || node.getPeers().length === 0) return
  const key = hashOf(digest)
  yield* await records.local(key, MAX_PROVIDERS)

  // Those near the key are not all connected where the swarm is larger than what we see of it.
  if (routing.isLarge) {
    for await (const answer of asTheyArrive([routing.router.find(key)], ROUTED_MS, signal)) yield* answer
    return
  }
  const peers = known.list().map(({ peerId }) => peerId)
  const answers = nearestPeers(peers, multihashOf(key), PEERS_TO_ASK).map((peer) => find.ask(peer, key))
  for await (const answer of asTheyArrive(answers, ANSWER_TIMEOUT_MS, signal)) yield* answer
}
