import { type Digest, digestOf } from '../../proxy/oci/digest.ts'
import { OciError } from '../../proxy/oci/errors.ts'
import { type Referrer, referrerOf, referrersIn, tagsIn } from '../../proxy/oci/known-lists.ts'
import { maxManifestBytes } from '../../proxy/oci/manifest.ts'
import { isListName, listReference, repositoryText } from '../../proxy/oci/name.ts'
import { pageOf } from '../../proxy/oci/page.ts'
import type {
  ContentKind,
  ContentSource,
  ListRequest,
  ListSource,
  PassedOnResponse,
  TagResolver,
} from '../../proxy/ports.ts'
import type { Access, Upstream } from '../../proxy/upstream/types.ts'
import type { Rules } from '../rules.ts'
import type { BlobStore } from '../store/blob-store.ts'
import type { Metadata, TagRecord } from '../store/metadata.ts'
import type { AccessControl } from './access.ts'
import { isAway, isOffline, toOciError } from './errors.ts'
import type { KeepManifest } from './keep-manifest.ts'
import { indexType, isWholeList, mergedReferrers, mergedTags } from './merged-lists.ts'
import { SharedQuestions } from './shared-questions.ts'
import type { Tags } from './tags.ts'
import { patienceWith, waitFor } from './wait.ts'

interface ListsOptions {
  readonly upstream: Pick<Upstream, 'list' | 'isSilent'>
  readonly content: ContentSource
  readonly tags: Pick<Tags, 'lastList' | 'keepList'>
  readonly metadata: Pick<Metadata, 'tagsOf' | 'referrersOf'>
  readonly store: Pick<BlobStore, 'record' | 'holdsOf' | 'digests'>
  readonly access: Pick<AccessControl, 'identityOf' | 'granted' | 'hasRead'>
  readonly rules: Pick<Rules, 'mustAsk' | 'mayCache'>
  readonly keep: KeepManifest
  /** How long upstream may take where something is known, in ms. */
  readonly patience: number
}

/** Bytes of a list that is kept; a longer one is passed on only. */
const maxKeptBytes = 4 * 1024 * 1024

/** What is known of a list while upstream can't be asked. */
interface Known<T> {
  readonly entries: readonly T[]
  /** The newest time at which upstream has said any of it, in ms since the epoch; undefined where there is no answer. */
  readonly confirmedAt: number | undefined
}

/** Why upstream's list is not here: it takes its time, answers something else, or can't be reached at all. */
type Reason = 'slow' | 'failing' | 'away'

/** A list, or what stands for one, as it was given. */
interface Kept {
  readonly body: Buffer
  readonly confirmedAt: number
}

/**
 * Tag lists and referrers are upstream's to give, and are passed on. What was given is kept under a name, as a manifest under its tag:
 * so peers find it in the same way, and whoever may have it is found out in the same way. While upstream can't be asked, the answer is
 * all that is known: such a list, and tags and referrers that were seen one by one.
 */
export class Lists implements ListSource {
  readonly #options: ListsOptions
  readonly #questions = new SharedQuestions<PassedOnResponse>()

  constructor(options: ListsOptions) {
    this.#options = options
  }

  async list(request: ListRequest): Promise<PassedOnResponse> {
    const { repository, resource, signal } = request
    const mustAsk = this.#options.rules.mustAsk(repositoryText(repository))
    try {
      // Whoever insists on upstream's answer does not share one that was asked for before.
      return mustAsk ? await this.#ask(request) : await this.#given(request)
    } catch (error) {
      if (signal.aborted) throw error
      const mayAnswer = !mustAsk && isOffline(error)
      const known = mayAnswer ? await this.#known(request, isAway(error) ? 'away' : 'failing') : undefined
      if (known !== undefined) return known
      throw toOciError(error, 'repository', `${resource} of ${repositoryText(repository)}`)
    }
  }

  /**
   * What upstream gives; where that takes its time, the whole list that it gave before. A long list may take longer than anything else, and the
   * few tags that were seen here are not the list.
   */
  async #given(request: ListRequest): Promise<PassedOnResponse> {
    const { upstream, access, patience } = this.#options
    const { repository, resource, query, signal } = request
    const key = [access.identityOf(request), repositoryText(repository), resource, query].join(' ')
    const asked = this.#questions.join(key, (own) => this.#ask({ ...request, signal: own }))
    let given: PassedOnResponse | undefined
    try {
      given = await waitFor(asked.answer, patienceWith(upstream, repository.registry, patience), signal)
      if (given !== undefined) return given
      const late = asked.toEnd(signal)
      given = await Promise.race([late, this.#known(request, 'slow').then((known) => known ?? late)])
      return given
    } finally {
      asked.leave(given?.origin === 'store')
    }
  }

  /** Asks upstream, and keeps what it gives. @throws {UpstreamError} */
  async #ask(request: ListRequest): Promise<PassedOnResponse> {
    // A refusal takes no rights to content: whoever may pull may not always list.
    const given = await this.#options.upstream.list(request)
    await this.#remember(request, given)
    return given
  }

  /** Keeps what upstream has given. A part of a list is added to what is kept. */
  async #remember(request: ListRequest, answer: PassedOnResponse & { readonly access: Access }): Promise<void> {
    const { tags, access: control, rules, keep } = this.#options
    const { repository, resource, query } = request
    const { status, access, body, headers } = answer
    const name = repositoryText(repository)
    if (status !== 200 || access === 'foreign' || !rules.mayCache(name)) return
    const isWhole = headers.link === undefined && !/(?:^|&)(?:n|last|artifactType)=/i.test(query)
    const before = isWhole ? undefined : await this.#kept(request, undefined)
    const list =
      resource === 'tags/list'
        ? mergedTags(repository.name, body, isWhole, before?.body)
        : mergedReferrers(body, isWhole, before?.body)
    if (list === undefined || list.bytes.length > maxKeptBytes) return
    const { bytes, mediaType } = list
    const digest = digestOf(bytes)
    const isPublic = access === 'public'
    if (!isPublic) await control.granted(request)
    await keep(digest, bytes, { mediaType, public: isPublic, repository: name })
    await tags.keepList(request, listReference(repository, resource), { digest, mediaType }, isPublic)
  }

  /** @returns undefined where nothing is known, or nothing that is good enough */
  async #known(request: ListRequest, reason: Reason): Promise<PassedOnResponse | undefined> {
    const { repository, resource, query } = request
    const kept = this.#kept(request, reason === 'away')
    // Upstream is going to answer: out of single pages of its list, a client would be told that the list ends there.
    if (reason === 'slow' && !isWhole(await kept)) return undefined
    if (resource === 'tags/list') {
      const { entries, confirmedAt } = await this.#knownTags(request, await kept)
      if (confirmedAt === undefined) return undefined
      const page = pageOf(entries, query)
      const link = page.next === undefined ? {} : { link: `<?${page.next}>; rel="next"` }
      return answer('application/json', link, { name: repository.name, tags: page.entries }, confirmedAt)
    }
    const { entries, confirmedAt } = await this.#knownReferrers(request, kept, reason === 'away')
    if (confirmedAt === undefined) return undefined
    const type = new URLSearchParams(query).get('artifactType') ?? ''
    const manifests = type === '' ? entries : entries.filter(({ artifactType }) => artifactType === type)
    const headers: Record<string, string> = type === '' ? {} : { 'oci-filters-applied': 'artifactType' }
    return answer(indexType, headers, { schemaVersion: 2, mediaType: indexType, manifests }, confirmedAt)
  }

  async #knownTags(request: ListRequest, kept: Kept | undefined): Promise<Known<string>> {
    const { metadata, access } = this.#options
    const identity = access.identityOf(request)
    const all = await metadata.tagsOf(repositoryText(request.repository))
    const hasRead = await access.hasRead(request)
    // What was heard from a peer says nothing of who may know it.
    const isMine = (record: TagRecord) => hasRead && record.heard === undefined && record.identity === identity
    const mine = all.filter(([tag, record]) => !tag.includes(' ') && (record.public || isMine(record)))
    const listed = (kept && tagsIn(kept.body)) ?? []
    const entries = [...new Set([...listed, ...mine.map(([tag]) => tag)])].sort()
    return { entries, confirmedAt: newest(kept?.confirmedAt, ...mine.map(([, { confirmedAt }]) => confirmedAt)) }
  }

  /** Of the list that upstream gave, of the tag that stands for it where a registry gives none, and of manifests that are here. */
  async #knownReferrers(
    request: ListRequest,
    given: Promise<Kept | undefined>,
    isUpstreamAway: boolean,
  ): Promise<Known<Referrer>> {
    const subject = request.resource.slice('referrers/'.length) as Digest
    const [kept, tagged, held] = await Promise.all([
      given,
      this.#tagged(request, subject.replace(':', '-'), isUpstreamAway),
      this.#held(request, subject),
    ])
    const lists = [kept, tagged].map((list) => (list && referrersIn(list.body)) ?? [])
    const found = new Map([...lists.flat(), ...held.entries].map((one) => [one.digest, one]))
    const confirmedAt = newest(kept?.confirmedAt, tagged?.confirmedAt, held.confirmedAt)
    // Most manifests have no referrers, and whoever looks for those of an image looks for those of its referrers as well.
    const mayBeEmpty = confirmedAt === undefined && (await this.#isOpen(request))
    return { entries: [...found.values()], confirmedAt: mayBeEmpty ? 0 : confirmedAt }
  }

  /** Whether this node has something of a repository that the asker may read. */
  async #isOpen(request: ListRequest): Promise<boolean> {
    const { store, access } = this.#options
    const name = repositoryText(request.repository)
    if (!store.holdsOf(name)) return false
    return store.digests().some((one) => store.record(one)?.publicIn?.includes(name)) || (await access.hasRead(request))
  }

  /** The list as upstream gave it last. @param isUpstreamAway undefined for what this node knows itself */
  async #kept(request: ListRequest, isUpstreamAway: boolean | undefined): Promise<Kept | undefined> {
    const { tags } = this.#options
    const { repository, resource } = request
    const last = await tags.lastList(request, listReference(repository, resource), isUpstreamAway)
    return last && (await this.#read(request, 'blob', last.digest, last.confirmedAt))
  }

  /** What was last confirmed of a tag. Upstream, which gives no list, is not waited for once more. */
  async #tagged(request: ListRequest, tag: string, isUpstreamAway: boolean): Promise<Kept | undefined> {
    const reference = `${repositoryText(request.repository)}:${tag}`
    const last = await this.#options.tags.lastList(request, reference, isUpstreamAway)
    return last && (await this.#read(request, 'manifest', last.digest, last.confirmedAt))
  }

  /** Manifests that are here and that the asker may have; they are as old as they came here. */
  async #held(request: ListRequest, subject: Digest): Promise<Known<Referrer>> {
    const { metadata, store, content } = this.#options
    const name = repositoryText(request.repository)
    const entries: Referrer[] = []
    const times: number[] = []
    for (const digest of await metadata.referrersOf(subject)) {
      const record = store.record(digest)
      if (record?.repositories.includes(name) !== true) continue
      const info = await content.held({ ...request, kind: 'manifest', digest }).catch(() => undefined)
      const read = info && (await this.#read(request, 'manifest', digest, record.createdAt))
      if (read === undefined) continue
      entries.push(referrerOf(digest, read.body, info?.mediaType))
      times.push(record.createdAt)
    }
    return { entries, confirmedAt: newest(...times) }
  }

  /** @returns undefined where nobody has it, or the asker may not have it */
  async #read(
    request: ListRequest,
    kind: ContentKind,
    digest: Digest,
    confirmedAt = Date.now(),
  ): Promise<Kept | undefined> {
    const { repository, authorization, isGuest, signal } = request
    const opened = await this.#options.content
      // Nothing that a list is made of is an image that its client pulls.
      .open({ kind, digest, repository, authorization, isGuest, signal, isExact: true })
      .catch(() => undefined)
    if (opened === undefined) return undefined
    try {
      if (opened.size === undefined || opened.size > maxManifestBytes) return undefined
      const pieces: Uint8Array[] = []
      for await (const piece of opened.read(0, undefined, signal)) pieces.push(Uint8Array.from(piece))
      return { body: Buffer.concat(pieces), confirmedAt }
    } catch {
      return undefined
    } finally {
      await opened.close()
    }
  }
}

/**
 * Tags, of which one may stand for a list of referrers (distribution-spec 1.1, "Referrers Tag Schema"): while upstream can't be asked for
 * it, that is the list which upstream gave by its API.
 */
export function withReferrers(tags: Pick<Tags, 'resolve' | 'lastList'>): TagResolver {
  return {
    resolve: async (request) => {
      try {
        return await tags.resolve(request)
      } catch (error) {
        const resource = `referrers/${request.tag.replace('-', ':')}`
        const isOfSubject = isListName(resource.replace(':', '-'))
        if (!isOfSubject || !(error instanceof OciError) || !isOffline(error.cause)) throw error
        const reference = listReference(request.repository, resource)
        const last = await tags.lastList(request, reference, isAway(error.cause))
        if (last === undefined) throw error
        return last
      }
    },
  }
}

function isWhole(kept: Kept | undefined): boolean {
  return kept !== undefined && isWholeList(kept.body)
}

function newest(...times: readonly (number | undefined)[]): number | undefined {
  const known = times.filter((time) => time !== undefined)
  return known.length === 0 ? undefined : Math.max(...known)
}

function answer(
  type: string,
  headers: Readonly<Record<string, string>>,
  body: object,
  confirmedAt: number,
): PassedOnResponse {
  const bytes = Buffer.from(JSON.stringify(body))
  return { status: 200, headers: { 'content-type': type, ...headers }, body: bytes, origin: 'store', confirmedAt }
}
