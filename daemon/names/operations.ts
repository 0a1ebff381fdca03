import { z } from 'zod'
import { peerId } from '../../config/scalars.ts'
import { answers, ControlError, type Operations } from '../control/operation.ts'
import type { PeerId } from '../swarm/ports.ts'
import { fingerprintOf } from './fingerprint.ts'
import type { SharedNames } from './names.ts'
import { nameOf } from './signed-name.ts'
import type { TrustedPeers } from './trust.ts'

/** Peers that are accepted at most: each is a decision of a person. */
const maxTrusted = 1_000

interface TrustOptions {
  readonly names: SharedNames
  readonly trust: TrustedPeers
  /** Whether only known peers are in the swarm. */
  readonly isClosed: boolean
  /** `registry.publishers`. */
  readonly publishers: readonly string[]
  readonly logger: { info(facts: object, message: string): void }
}

/** A peer, as people name it. */
const question = z.strictObject({ peer: z.string().trim().min(1).max(200) })

/** What `layerd trust` and `layerd untrust` ask for. */
export function trustOperations({ names, trust, isClosed, publishers, logger }: TrustOptions): Operations {
  const described = (peer: PeerId) => ({ peerId: peer, fingerprint: fingerprintOf(peer) })
  const isHeard = publishers.some((entry) => entry === 'members' || entry.startsWith('members='))
  /** @throws {ControlError} where it is none, or could be several */
  const find = (text: string, known: readonly PeerId[]): PeerId => {
    if (peerId.safeParse(text).success) return text
    const [found, another] = known.filter((peer) => fingerprintOf(peer) === text)
    if (found !== undefined && another === undefined) return found
    throw new ControlError(
      `"${text}" is neither a PeerId nor the fingerprint of a peer that offers something here; "layerd trust --list" shows those that do`,
    )
  }
  return {
    'trust-list': answers(z.strictObject({}), async () => ({
      self: described(names.self),
      isClosed,
      trusted: trust.list().map(({ peerId: peer, since }) => ({ ...described(peer), since })),
      offers: names.status().offers,
    })),
    trust: answers(question, async ({ peer: text }) => {
      const peer = find(text, names.publishers())
      if (peer === names.self)
        throw new ControlError('this is the PeerId of this node itself, whose pushes count anyway')
      if (!isHeard) {
        const set = publishers.join(', ')
        throw new ControlError(`it would change nothing: registry.publishers (${set}) does not name "members"`)
      }
      if (!trust.has(peer) && trust.list().length >= maxTrusted)
        throw new ControlError(`${maxTrusted} peers are accepted already: "layerd untrust" takes some of them back`)
      if (!trust.has(peer)) await trust.add(peer)
      await names.trusted(peer)
      logger.info(described(peer), 'a peer is accepted: what it pushes counts here')
      return { ...described(peer), isClosed, names: names.by(peer).map(nameOf) }
    }),
    untrust: answers(question, async ({ peer: text }) => {
      const known = trust.list().map(({ peerId: peer }) => peer)
      const peer = find(text, known)
      if (!trust.has(peer))
        throw new ControlError(`${peer} is not accepted here; "layerd trust --list" shows those that are`)
      await trust.remove(peer)
      await names.untrusted(peer)
      logger.info(described(peer), 'a peer is not accepted any more')
      return described(peer)
    }),
  }
}
