import { createHmac } from 'node:crypto'
import { registryOf, repositoryText } from '../../proxy/oci/name.ts'
import type { ContentRequest } from '../../proxy/ports.ts'
import { type Access, type Upstream, UpstreamError } from '../../proxy/upstream/types.ts'
import type { Metadata } from '../store/metadata.ts'
import { isOffline, isRefusal } from './errors.ts'
import type { Publicity } from './publicity.ts'
import { patienceWith, withPatience } from './wait.ts'

/**
 * Who asks, without the secret: the node itself, a client by its `Authorization`, or nobody in particular. A guest is another
 * identity than a client with the same `Authorization` for whom the node's client certificates are used as well.
 */
export type Identity = 'node' | 'anonymous' | `${'client' | 'guest'}:${string}`

type Asker = Pick<ContentRequest, 'repository' | 'authorization' | 'isGuest'>

type Question = ContentRequest

interface AccessOptions {
  readonly metadata: Pick<Metadata, 'grant' | 'putGrant' | 'deleteGrant'>
  readonly upstream: Pick<Upstream, 'stat' | 'isSilent'>
  readonly publicity: Pick<Publicity, 'given' | 'isGiven'>
  /** The name of this node's own registry, which asks nobody who they are. */
  readonly ownRegistry: string
  /** Random key of this data directory; makes the identities in it useless elsewhere. */
  readonly identityKey: string
  /** How long a grant opens content without upstream being asked again, in ms. */
  readonly freshFor: number
  /** The same while upstream can't be asked, in ms. */
  readonly offlineFor: number
  /** How long upstream may take to answer, in ms; after that it counts as one that can't be asked. */
  readonly patience: number
  readonly now?: () => number
}

/** A grant is written again only after this share of its freshness, as every request of a pull confirms it. */
const rewriteAfterShare = 0.1

/** Where content was found before, seen from a request for it: in its repository, in another one of its registry, or in none of it. */
export type FoundIn = 'repository' | 'registry' | 'elsewhere'

/** @param repositories those that the content was found in, as `registry/repository` */
export function foundIn({ repository }: Pick<Asker, 'repository'>, repositories: readonly string[]): FoundIn {
  if (repositories.includes(repositoryText(repository))) return 'repository'
  return repositories.some((one) => registryOf(one) === repository.registry) ? 'registry' : 'elsewhere'
}

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

  identityOf({ authorization, isGuest = false }: Pick<Asker, 'authorization' | 'isGuest'>): Identity {
    if (authorization === undefined) return isGuest ? 'anonymous' : 'node'
    const hash = createHmac('sha256', this.#options.identityKey).update(authorization).digest('hex')
    return isGuest ? `guest:${hash}` : `client:${hash}`
  }

  /**
   * Notes that upstream gave content to the asker. Where it took credentials, a grant is kept, and upstream is asked once in
   * a while whether they were needed: a login at Docker Hub does not make its public images private.
   * @returns who may have the content: anybody, those whom upstream lets in, or nobody else than the asker (`foreign`)
   */
  async accepted(request: Question, access: Access): Promise<Access> {
    // What another registry gave is not this one's to call public, nor does it say that the asker may read here.
    if (access === 'foreign') return access
    const { publicity } = this.#options
    const isPublic = access === 'public' || (await publicity.isGiven(request))
    await publicity.given(request, isPublic ? 'anybody' : 'somebody')
    if (isPublic) return 'public'
    await this.granted(request)
    return 'private'
  }

  /** Whether upstream let the asker read in a repository for its credentials, so lately that it counts while upstream can't be asked. */
  async hasRead(asker: Asker): Promise<boolean> {
    const at = await this.#options.metadata.grant(this.#keyOf(asker))
    return at !== undefined && this.#now() - at < this.#options.offlineFor
  }

  /** Notes that upstream did not let the asker in, which ends its grant. */
  async refused(asker: Asker): Promise<void> {
    await this.#options.metadata.deleteGrant(this.#keyOf(asker))
  }

  /** Notes that upstream let the asker read in a repository. */
  async granted(asker: Asker): Promise<void> {
    const key = this.#keyOf(asker)
    const now = this.#now()
    const before = await this.#options.metadata.grant(key)
    if (before === undefined || now - before > this.#options.freshFor * rewriteAfterShare) {
      await this.#options.metadata.putGrant(key, now)
    }
  }

  /**
   * Whether private content may be given to the asker: by a fresh grant for a repository that it is known to be in, or by
   * asking upstream for it in the asker's name. A refusal ends the grant. A registry decides of nothing that it has never given
   * itself: one that answers yes to any question would open what others keep from the asker.
   * @returns undefined where it may not; otherwise what is known of it now
   */
  async check(request: Question, found: FoundIn): Promise<Access | undefined> {
    const { metadata, upstream, ownRegistry, freshFor, offlineFor, patience } = this.#options
    if (found === 'elsewhere') return undefined
    if (request.repository.registry === ownRegistry) return 'private'
    const inRepository = found === 'repository'
    const at = await metadata.grant(this.#keyOf(request))
    const age = at === undefined ? Number.POSITIVE_INFINITY : this.#now() - at
    if (inRepository && age < freshFor) return 'private'
    try {
      const limit = patienceWith(upstream, request.repository.registry, patience)
      return await this.#ask(request, (ask) => withPatience(limit, request.signal, ask))
    } catch (error) {
      if (!(error instanceof UpstreamError)) throw error
      // Some registries say so of what they don't show any more to whoever asks.
      if (error.code === 'not-found' && inRepository) await metadata.deleteGrant(this.#keyOf(request))
      return isOffline(error) && inRepository && age < offlineFor ? 'private' : undefined
    }
  }

  /**
   * Asks upstream whether the asker may have the content, whatever is known; it has as long as its own deadlines allow.
   * @throws {UpstreamError} where it does not say so
   */
  async confirm(request: Question): Promise<Access> {
    return await this.#ask(request, (ask) => ask(request.signal))
  }

  async #ask(
    request: Question,
    wait: (ask: (signal: AbortSignal) => Promise<{ access: Access }>) => Promise<{ access: Access }>,
  ): Promise<Access> {
    try {
      const { access } = await wait((signal) => this.#options.upstream.stat({ ...request, signal }))
      return await this.accepted(request, access)
    } catch (error) {
      if (isRefusal(error)) await this.refused(request)
      throw error
    }
  }

  #keyOf(asker: Asker): string {
    return `${repositoryText(asker.repository)} ${this.identityOf(asker)}`
  }
}
