import { repositoryText } from '../../proxy/oci/name.ts'
import type { ContentRequest } from '../../proxy/ports.ts'
import { type Upstream, UpstreamError } from '../../proxy/upstream/types.ts'
import type { Rules } from '../rules.ts'
import type { Metadata } from '../store/metadata.ts'
import { isOffline } from './errors.ts'
import { patienceWith, withPatience } from './wait.ts'

type Asker = Pick<ContentRequest, 'repository' | 'authorization'>

/** Whom upstream gave something to. */
type Receiver = 'anybody' | 'somebody'

interface PublicityOptions {
  readonly metadata: Pick<Metadata, 'grant' | 'putGrant'>
  readonly upstream: Pick<Upstream, 'stat' | 'isSilent' | 'isKnownTo'>
  readonly rules: Pick<Rules, 'mayShare' | 'toStrangers'>
  /** Whether only known peers are in the swarm. */
  readonly isClosed: boolean
  /** How long what upstream has said before counts while it can't be asked, in ms. */
  readonly offlineFor: number
  /** How long upstream may take to answer, in ms; after that it counts as one that can't be asked. */
  readonly patience: number
  readonly now: () => number
}

/** How long it is remembered whether anybody may read a repository, in ms. */
const lifetime = 3_600_000

/** Repositories of which that is remembered; the oldest are forgotten. */
const maxKnown = 1_000

/** What is kept on disk is written again after this share of the time that it counts, as every request of a pull confirms it. */
const rewriteAfterShare = 0.1

/**
 * Which repositories anybody may read, and so who may hear of them. In an open swarm nothing is asked of peers, neither by name nor
 * by digest, before it is known that it is of such a repository: by the configuration, or because upstream has given something of
 * it to somebody without credentials.
 */
export class Publicity {
  readonly #options: PublicityOptions
  /** What upstream said when it was asked as anybody could ask. */
  readonly #answers = new Map<string, { readonly isPublic: boolean; readonly until: number }>()

  constructor(options: PublicityOptions) {
    this.#options = options
  }

  /** Upstream has given something of a repository: without credentials, or for those of somebody. */
  async given(asker: Pick<Asker, 'repository'>, to: Receiver): Promise<void> {
    const { metadata, now } = this.#options
    const key = keyOf(repositoryText(asker.repository), to)
    const before = await metadata.grant(key)
    if (before === undefined || now() - before > lifetime * rewriteAfterShare) await metadata.putGrant(key, now())
  }

  /** Whether content that upstream gave for credentials is given without them, too. Upstream is asked once in a while. */
  async isGiven(request: ContentRequest): Promise<boolean> {
    const repository = repositoryText(request.repository)
    const known = this.#lately(repository)
    if (known !== undefined) return known
    const isPublic = await this.#ask(request)
    // Some registries hide from the anonymous what they have.
    if (isPublic !== 'offline') this.#remember(repository, isPublic === true)
    return isPublic === true
  }

  /** Whether peers may hear of what is asked for. Upstream is asked where that is not known, and waits for nobody. */
  async mayTell(request: ContentRequest): Promise<boolean> {
    const known = await this.knows(request)
    if (known !== undefined) return known
    const isPublic = await this.#ask(request)
    if (isPublic === 'offline') return await this.#mayTellOffline(request)
    // What is not there may be a mistake of the asker's, and says nothing of what is.
    if (isPublic !== 'unknown') this.#remember(repositoryText(request.repository), isPublic)
    return isPublic === true
  }

  /** The same without asking upstream, which could not answer a moment ago. */
  async mayTellUnasked(asker: Asker): Promise<boolean> {
    return (await this.knows(asker)) ?? (await this.#mayTellOffline(asker))
  }

  /** Whether peers may hear of a repository; undefined where that is not known. */
  async knows({ repository: { registry, name } }: Pick<Asker, 'repository'>): Promise<boolean | undefined> {
    const { rules, isClosed, metadata, now } = this.#options
    const repository = repositoryText({ registry, name })
    if (!rules.mayShare(repository)) return false
    if (isClosed) return true
    const said = rules.toStrangers(repository)
    if (said !== 'proven') return said === 'told'
    const givenAt = await metadata.grant(keyOf(repository, 'anybody'))
    return givenAt !== undefined && now() - givenAt < lifetime ? true : this.#lately(repository)
  }

  /**
   * While upstream can't be asked, what it said before holds for longer. And whoever is anonymous at a public registry asks for
   * what anybody may ask for: so a laptop that has never been online gets images of others.
   */
  async #mayTellOffline({ repository, authorization }: Asker): Promise<boolean> {
    const { metadata, upstream, offlineFor, now } = this.#options
    const since = async (to: Receiver) =>
      now() - ((await metadata.grant(keyOf(repositoryText(repository), to))) ?? Number.NEGATIVE_INFINITY)
    const [anybody, somebody] = [await since('anybody'), await since('somebody')]
    if (Math.min(anybody, somebody) < offlineFor) return anybody < somebody
    return authorization === undefined && !(await upstream.isKnownTo(repository.registry))
  }

  /** Asks upstream for something as anybody could. */
  async #ask({ kind, digest, repository, signal }: ContentRequest): Promise<boolean | 'offline' | 'unknown'> {
    const { upstream, patience } = this.#options
    const limit = patienceWith(upstream, repository.registry, patience)
    try {
      const { access } = await withPatience(limit, signal, (limited) =>
        upstream.stat({ kind, digest, repository, anonymous: true, signal: limited }),
      )
      // A host that we were sent to may know the node by its certificate.
      return access === 'public'
    } catch (error) {
      if (!(error instanceof UpstreamError)) throw error
      if (isOffline(error)) return 'offline'
      return error.code === 'not-found' ? 'unknown' : false
    }
  }

  #lately(repository: string): boolean | undefined {
    const known = this.#answers.get(repository)
    return known !== undefined && known.until > this.#options.now() ? known.isPublic : undefined
  }

  #remember(repository: string, isPublic: boolean): void {
    this.#answers.delete(repository)
    this.#answers.set(repository, { isPublic, until: this.#options.now() + lifetime })
    const [oldest] = this.#answers.keys()
    if (this.#answers.size > maxKnown && oldest !== undefined) this.#answers.delete(oldest)
  }
}

/** No identity is called so. */
function keyOf(repository: string, to: Receiver): string {
  return `${repository} ${to}`
}
