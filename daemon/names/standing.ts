import { repositoryMatcher, splitPublisher } from '../../config/patterns.ts'
import type { PeerId } from '../swarm/ports.ts'
import type { Standing } from './choice.ts'

interface StandingOptions {
  readonly self: PeerId
  readonly isClosed: boolean
  /** `registry.publishers`. */
  readonly publishers: readonly string[]
  /** `swarm.allowedPeers`; empty where nobody is listed. */
  readonly allowedPeers: readonly PeerId[]
  /** Whether the user has accepted a peer. */
  readonly isTrusted: (peer: PeerId) => boolean
}

/** Who may publish which names, as the configuration and the user say. */
export function createStanding({ self, isClosed, publishers, allowedPeers, isTrusted }: StandingOptions): Standing {
  const entries = publishers.map((entry) => {
    const { who, pattern } = splitPublisher(entry)
    return { who, isMeant: pattern === undefined ? () => true : repositoryMatcher([pattern]) }
  })
  const isOne = (who: string, publisher: PeerId) => {
    if (who === 'members') return isClosed || isTrusted(publisher)
    return who === 'anyone' || who === publisher
  }
  const isAllowed = (publisher: PeerId) => allowedPeers.length === 0 || allowedPeers.includes(publisher)
  const counting = (of: typeof entries) => (publisher: PeerId, repository: string) =>
    isAllowed(publisher) && of.some(({ who, isMeant }) => isOne(who, publisher) && isMeant(repository))
  const named = entries.filter(({ who }) => who !== 'anyone')
  return {
    self,
    isClosed,
    counts: counting(entries),
    isHeard: (publisher) => isAllowed(publisher) && named.some(({ who }) => isOne(who, publisher)),
    mayPassOn: counting(named),
  }
}
