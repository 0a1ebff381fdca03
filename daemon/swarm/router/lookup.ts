import { setMaxListeners } from 'node:events'
import type { Logger } from 'pino'
import type { Digest } from '../../../proxy/oci/digest.ts'
import { MESH_CONNECTIONS } from '../discovery/constants.ts'
import type { FindClient } from '../find/client.ts'
import { ANSWER_TIMEOUT_MS, MAX_PROVIDERS, PEERS_TO_ASK } from '../find/constants.ts'
import { nearestPeers } from '../find/nearest.ts'
import type { KnownPeers } from '../known-peers.ts'
import type { Node } from '../node.ts'
import type { PeerId } from '../ports.ts'
import { asTheyArrive } from './arrivals.ts'
import { keyOf } from './cid.ts'
import { LOOKUP_DEADLINE_MS } from './constants.ts'
import type { ProviderRecords } from './records.ts'
import type { Reputation } from './reputation.ts'

interface LookupOptions {
  readonly node: Node
  readonly records: ProviderRecords
  readonly known: KnownPeers
  readonly find: FindClient
  readonly reputation: Reputation
  readonly admits: (peer: PeerId) => boolean
  readonly log: Logger
}

/**
 * Peers that announced a blob: those in the local records first, then as peers answer. A peer that failed a moment ago or is
 * not connected comes last. A node without connections finds nobody, at once.
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
  { node, records, known, find }: LookupOptions,
  digest: Digest,
  signal: AbortSignal,
): AsyncGenerator<PeerId, void> {
  const connected = node.getPeers().length
  if (signal.aborted || connected === 0) return
  const { multihash } = keyOf(digest)
  yield* await records.local(multihash.digest, MAX_PROVIDERS)

  const peers = known.list().map(({ peerId }) => peerId)
  const answers = nearestPeers(peers, multihash.bytes, PEERS_TO_ASK).map((peer) => find.ask(peer, multihash.digest))
  for await (const answer of asTheyArrive(answers, ANSWER_TIMEOUT_MS, signal)) yield* answer

  // everybody near the key was asked, unless the swarm is larger than what we see of it
  if (!signal.aborted && (connected >= MESH_CONNECTIONS || peers.length === 0)) yield* fromDht(node, digest, signal)
}

async function* fromDht(node: Node, digest: Digest, signal: AbortSignal): AsyncGenerator<PeerId, void> {
  const either = AbortSignal.any([signal, AbortSignal.timeout(LOOKUP_DEADLINE_MS)])
  // each request of the query listens to it
  setMaxListeners(0, either)
  for await (const event of node.services.dht.findProviders(keyOf(digest), { signal: either })) {
    if (event.name !== 'PROVIDER') continue
    for (const { id } of event.providers) yield id.toString()
  }
}
