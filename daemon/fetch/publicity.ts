import { repositoryText } from '../../proxy/oci/name.ts'
import type { ContentRequest } from '../../proxy/ports.ts'
import { type Upstream, UpstreamError } from '../../proxy/upstream/types.ts'
import type { Rules } from '../rules.ts'
import type { Metadata } from '../store/metadata.ts'
import { isOffline } from './errors.ts'
import { patienceWith, waitFor, withPatience } from './wait.ts'

type Asker = Pick<ContentRequest, 'repository' | 'authorization'>

/** Whom upstream gave something to. */
type Receiver = 'anybody' | 'somebody'

/** What upstream says to whoever asks without credentials; of what it does not have it says nothing. */
type Answer = boolean | 'offline' | 'unknown'

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

/** How long it is remembered that anybody may read a repository, in ms. */
const lifetime = 3_600_000

/** How long a no is remembered, in ms. It may be one bad moment of a token service, and ends the sharing of a repository. */
const refusalLifetime = 300_000

/**
 * How long it is remembered that upstream could not be asked, in ms. The index, the manifest and the first layers of a pull are asked
 * for within this time, and only the first of them waits for upstream.
 */
const offlineLifetime = 10_000

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
  readonly #answers = new Map<string, { readonly said: boolean | 'offline'; readonly until: number }>()
  /** Questions that upstream has not answered yet, one for each repository. */
  readonly #asking = new Map<string, Promise<Answer>>()

  constructor(options: PublicityOptions) {
    this.#options = options
  }

  /** Upstream has given something of a repository: without credentials, or for those of somebody. */
  async given(asker: Pick<Asker, 'repository'>, to: Receiver): Promise<void> {
    const { metadata, now } = this.#options
    const repository = repositoryText(asker.repository)
    if (this.#answers.get(repository)?.said === 'offline') this.#answers.delete(repository)
    const key = keyOf(repository, to)
    const before = await metadata.grant(key)
    if (before === undefined || now() - before > lifetime * rewriteAfterShare) await metadata.putGrant(key, now())
  }

  /** Whether content that upstream gave for credentials is given without them, too. Upstream is asked once in a while. */
  async isGiven(request: ContentRequest): Promise<boolean> {
    const repository = repositoryText(request.repository)
    const known = this.#lately(repository)
    // It has just given something, so it can be asked again.
    if (known !== undefined && known !== 'offline') return known
    const said = await this.#ask(request)
    // Some registries hide from the anonymous what they have.
    if (said === 'unknown') this.#remember(repository, false)
    return said === true
  }

  /**
   * Whether peers may hear of what is asked for. Upstream is asked where that is not known, once for all who want to know; while it
   * can't be asked, nobody waits for it who has another answer.
   */
  async mayTell(request: ContentRequest): Promise<boolean> {
    const known = await this.knows(request)
    if (known !== undefined) return known
    const repository = repositoryText(request.repository)
    if (this.#lately(repository) === 'offline') return await this.#mayTellOffline(request)
    if (this.#options.upstream.isSilent(request.repository.registry)) {
      const said = await this.#saidBefore(repository)
      if (said !== undefined) return said
    }
    const said = await this.#ask(request)
    return said === 'offline' ? await this.#mayTellOffline(request) : said === true
  }

  /** The same without asking upstream, which could not answer a moment ago. */
  async mayTellUnasked(asker: Asker): Promise<boolean> {
    const known = await this.knows(asker)
    if (known !== undefined) return known
    this.#remember(repositoryText(asker.repository), 'offline')
    return await this.#mayTellOffline(asker)
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
    if (givenAt !== undefined && now() - givenAt < lifetime) return true
    const lately = this.#lately(repository)
    return lately === 'offline' ? undefined : lately
  }

  /**
   * While upstream can't be asked, what it said before holds for longer. And whoever is anonymous at a public registry asks for
   * what anybody may ask for: so a laptop that has never been online gets images of others.
   */
  async #mayTellOffline({ repository, authorization }: Asker): Promise<boolean> {
    const said = await this.#saidBefore(repositoryText(repository))
    return said ?? (authorization === undefined && !(await this.#options.upstream.isKnownTo(repository.registry)))
  }

  /** Whether anybody may read a repository by what upstream gave before; undefined where that is too long ago. */
  async #saidBefore(repository: string): Promise<boolean | undefined> {
    const { metadata, offlineFor, now } = this.#options
    const since = async (to: Receiver) =>
      now() - ((await metadata.grant(keyOf(repository, to))) ?? Number.NEGATIVE_INFINITY)
    const [anybody, somebody] = [await since('anybody'), await since('somebody')]
    return Math.min(anybody, somebody) < offlineFor ? anybody < somebody : undefined
  }

  /** Asks upstream for something as anybody could, together with others who ask of the same repository. */
  async #ask(request: ContentRequest): Promise<Answer> {
    const repository = repositoryText(request.repository)
    const { signal } = request
    const running = this.#asking.get(repository)
    if (running !== undefined) {
      const said = await this.#await(running, signal)
      // The others asked for something that is not there, which may be a mistake of theirs.
      if (said !== 'unknown') return said
    }
    const asking = this.#question(request).finally(() => {
      if (this.#asking.get(repository) === asking) this.#asking.delete(repository)
    })
    this.#asking.set(repository, asking)
    return await this.#await(asking, signal)
  }

  async #await(asking: Promise<Answer>, signal: AbortSignal): Promise<Answer> {
    return (await waitFor(asking, this.#options.patience, signal)) ?? 'offline'
  }

  /** It belongs to nobody: one who hangs up does not end it for the others. */
  async #question({ kind, digest, repository }: ContentRequest): Promise<Answer> {
    const { upstream, patience } = this.#options
    const limit = patienceWith(upstream, repository.registry, patience)
    const said = await withPatience(limit, new AbortController().signal, (signal) =>
      upstream.stat({ kind, digest, repository, anonymous: true, signal }),
    ).then(
      // A host that we were sent to may know the node by its certificate.
      ({ access }) => access === 'public',
      (error: unknown) => {
        if (!(error instanceof UpstreamError)) throw error
        if (isOffline(error)) return 'offline'
        return error.code === 'not-found' ? 'unknown' : false
      },
    )
    if (said !== 'unknown') this.#remember(repositoryText(repository), said)
    return said
  }

  #lately(repository: string): boolean | 'offline' | undefined {
    const known = this.#answers.get(repository)
    return known !== undefined && known.until > this.#options.now() ? known.said : undefined
  }

  #remember(repository: string, said: boolean | 'offline'): void {
    this.#answers.delete(repository)
    const lasts = said === 'offline' ? offlineLifetime : said ? lifetime : refusalLifetime
    this.#answers.set(repository, { said, until: this.#options.now() + lasts })
    const [oldest] = this.#answers.keys()
    if (this.#answers.size > maxKnown && oldest !== undefined) this.#answers.delete(oldest)
  }
}

/** No identity is called so. */
function keyOf(repository: string, to: Receiver): string {
  return `${repository} ${to}`
}
