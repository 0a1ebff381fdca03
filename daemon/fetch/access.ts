import { createHmac } from 'node:crypto'
import { repositoryText } from '../../proxy/oci/name.ts'
import type { ContentRequest } from '../../proxy/ports.ts'
import { type Upstream, UpstreamError } from '../../proxy/upstream/types.ts'
import type { Metadata } from '../store/metadata.ts'

/** Who asks, without the secret: the node itself, or a client by its `Authorization`. */
export type Identity = 'node' | `client:${string}`

type Asker = Pick<ContentRequest, 'repository' | 'authorization'>

interface AccessOptions {
  readonly metadata: Pick<Metadata, 'grant' | 'putGrant'>
  readonly upstream: Pick<Upstream, 'stat'>
  /** Random key of this data directory; makes the identities in it useless elsewhere. */
  readonly identityKey: string
  /** How long a grant opens content without upstream being asked again, in ms. */
  readonly freshFor: number
  /** The same while upstream can't be asked, in ms. */
  readonly offlineFor: number
  readonly now?: () => number
}

/** A grant is written again only after this share of its freshness, as every request of a pull confirms it. */
const rewriteAfterShare = 0.1

/**
 * Who may have private content from the cache or from peers: those whom upstream let read the repository a short while ago.
 */
export class AccessControl {
  readonly #options: AccessOptions
  readonly #now: () => number

  constructor(options: AccessOptions) {
    this.#options = options
    this.#now = options.now ?? Date.now
  }

  identityOf(asker: Pick<Asker, 'authorization'>): Identity {
    if (asker.authorization === undefined) return 'node'
    return `client:${createHmac('sha256', this.#options.identityKey).update(asker.authorization).digest('hex')}`
  }

  /** Notes that upstream accepted the asker for the repository. */
  async accepted(asker: Asker): Promise<void> {
    const key = this.#keyOf(asker)
    const now = this.#now()
    const before = await this.#options.metadata.grant(key)
    if (before !== undefined && now - before < this.#options.freshFor * rewriteAfterShare) return
    await this.#options.metadata.putGrant(key, now)
  }

  /**
   * Whether private content may be given: by a fresh grant for the repository that it is known to be in, or by asking
   * upstream for it in the asker's name.
   * @param inRepository whether the content was found in the request's repository before
   */
  async mayHave(request: ContentRequest, inRepository: boolean): Promise<boolean> {
    const at = await this.#options.metadata.grant(this.#keyOf(request))
    const age = at === undefined ? Number.POSITIVE_INFINITY : this.#now() - at
    if (inRepository && age < this.#options.freshFor) return true
    try {
      await this.#options.upstream.stat(request)
      await this.accepted(request)
      return true
    } catch (error) {
      if (!(error instanceof UpstreamError)) throw error
      return error.code === 'unreachable' && age < this.#options.offlineFor
    }
  }

  #keyOf(asker: Asker): string {
    return `${repositoryText(asker.repository)} ${this.identityOf(asker)}`
  }
}
