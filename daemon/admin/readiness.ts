import type { SwarmStatus } from '../swarm/ports.ts'

/**
 * Why a node that serves clients does not count as ready, as far as its swarm goes; undefined where it does.
 * @param minPeers how many peers it needs that blobs can be fetched from
 */
export function swarmNotReady(
  { peers, problems }: Pick<SwarmStatus, 'peers' | 'problems'>,
  minPeers: number,
): string | undefined {
  const identity = problems.find(({ kind }) => kind === 'identity')
  if (identity !== undefined) return identity.text
  const usable = peers.filter(({ transfer }) => transfer).length
  if (usable >= minPeers) return undefined
  const others = problems.map(({ text }) => `; ${text}`).join('')
  return `the node has ${usable} peers that it can fetch from, and needs ${minPeers} (admin.minPeers)${others}`
}
