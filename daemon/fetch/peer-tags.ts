import type { Config } from '../../config/schema.ts'
import { isSignedTag } from '../share/signed-tag.ts'
import type { TagRecord } from '../store/metadata.ts'
import type { PeerId, Swarm, ToldTag } from '../swarm/ports.ts'
import type { Identity } from './access.ts'

/** Whose word on tags counts. */
export interface TagTrust {
  /** Whether one node asks upstream for all: what a peer has heard a moment ago is believed though upstream could be asked. */
  readonly whileAnswered: boolean
  /** Who is asked where upstream gives no answer. `strangers` may be anybody who can reach this node. */
  readonly otherwise: 'members' | 'strangers' | 'nobody'
}

/** What `tags.trustPeers` means. In a closed swarm all values but `never` are the same. */
export function tagTrust(setting: Config['tags']['trustPeers'], isClosed: boolean): TagTrust {
  if (setting === 'never') return { whileAnswered: false, otherwise: 'nobody' }
  if (isClosed) return { whileAnswered: true, otherwise: 'members' }
  return { whileAnswered: setting === 'always', otherwise: setting === 'closed' ? 'nobody' : 'strangers' }
}

/**
 * How far the clock of a node that has asked upstream may be off, in ms. Its word counts as up to this much younger or older than
 * its clock says; what it has signed for a later time than this is not believed, or it would be the newest until then.
 */
const maxSkew = 60_000

interface PeerTagsOptions {
  readonly swarm: Pick<Swarm, 'tags'>
  /** PeerIds whose word counts (`swarm.allowedPeers`), and this node; empty where all that are in the swarm are members. */
  readonly signers: readonly PeerId[]
  readonly logger: { debug(facts: object, message: string): void }
  readonly now: () => number
}

/** What peers say of tags, as far as it can be believed: signed by a member, and of a time that can be. */
export class PeerTags {
  readonly #options: PeerTagsOptions

  constructor(options: PeerTagsOptions) {
    this.#options = options
  }

  /**
   * What was heard from upstream last.
   * @param reference `registry/repository:tag`
   * @param of who is asked; the nearest peers where it is left out
   */
  async newest(reference: string, signal: AbortSignal, of?: readonly PeerId[]): Promise<ToldTag | undefined> {
    let newest: ToldTag | undefined
    for (const told of await this.#options.swarm.tags(reference, signal, of)) {
      const reason = this.#mistakeIn(reference, told)
      if (reason !== undefined) {
        const { peer, signer } = told
        this.#options.logger.debug({ reference, peer, signer, reason }, 'what a peer says of a tag is not believed')
        continue
      }
      // Whoever passes it on may say that it is younger than it is.
      const confirmedAt = Math.min(told.confirmedAt, told.at + maxSkew)
      if (newest === undefined || confirmedAt > newest.confirmedAt) newest = { ...told, confirmedAt }
    }
    return newest
  }

  /** Why it is not believed; undefined where it is. */
  #mistakeIn(reference: string, told: ToldTag): string | undefined {
    const { signers, now } = this.#options
    if (told.at > now() + maxSkew) return 'the clock of its signer is ahead'
    if (signers.length > 0 && !signers.includes(told.signer)) return 'its signer is not in swarm.allowedPeers'
    return isSignedTag(reference, told) ? undefined : 'its signature is wrong'
  }
}

/**
 * What a peer has said, as it is kept. It is known for its asker only: who may have the content is found out when it is asked for.
 * @param identity of the asker
 */
export function heardRecord(told: ToldTag, identity: Identity): TagRecord {
  const { digest, mediaType, confirmedAt, signer, at, signature } = told
  const heard = { signer, at, signature: Buffer.from(signature).toString('base64') }
  return { digest, mediaType, public: false, identity, confirmedAt, heard }
}
