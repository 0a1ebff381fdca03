import { repositoryText } from '../../proxy/oci/name.ts'
import type { ResolvedTag, TagRequest, TagResolver } from '../../proxy/ports.ts'
import { type Upstream, UpstreamError } from '../../proxy/upstream/types.ts'
import type { Rules } from '../rules.ts'
import type { Sharing } from '../share/sharing.ts'
import type { Metadata, TagRecord } from '../store/metadata.ts'
import type { ToldTag } from '../swarm/ports.ts'
import type { AccessControl, Identity } from './access.ts'
import { isAway, isOffline, nobodyElseIsAsked, noPeerHasIt, tagsAreNotAsked, toOciError } from './errors.ts'
import { FleetTags } from './fleet-tags.ts'
import type { KeepManifest } from './keep-manifest.ts'
import { heardRecord, type PeerTags, type TagTrust } from './peer-tags.ts'
import type { Publicity } from './publicity.ts'
import { fresh, ownReference } from './tag-records.ts'
import { patienceWith, waitFor } from './wait.ts'

interface TagsOptions {
  readonly metadata: Pick<Metadata, 'tag' | 'putTag'>
  readonly peers: Pick<PeerTags, 'newest'>
  readonly sharing: Pick<Sharing, 'turn' | 'turnEnded'>
  readonly trust: TagTrust
  readonly upstream: Pick<Upstream, 'resolveManifest' | 'isSilent'>
  readonly access: Pick<AccessControl, 'identityOf' | 'accepted'>
  readonly publicity: Pick<Publicity, 'knows' | 'mayTellUnasked'>
  readonly rules: Rules
  /** Some registries give manifests by tag only. */
  readonly keep: KeepManifest
  /** How long upstream may take before what was last confirmed is used instead, in ms. */
  readonly patience: number
  readonly logger: { info(facts: object, message: string): void }
  readonly now?: () => number
}

/** Who asks for something of a repository. */
type ListAsker = Omit<TagRequest, 'tag' | 'doubted'>

/** A tag that is asked for, and what the rules say of it. */
interface Question {
  /** `registry/repository:tag`. */
  readonly reference: string
  readonly identity: Identity
  readonly doubted: TagRequest['doubted']
  readonly mustAsk: boolean
  readonly mayCache: boolean
  readonly mayShare: boolean
  /** How long a confirmation is answered without asking again, in ms. */
  readonly freshFor: number
}

/** How long another node that asks upstream is waited for, in ms, and as a share of the patience that upstream gets. */
const fleetPatience = 2_000
const fleetShare = 0.4

/** How long peers have to say what they know of a tag, in ms; only used while upstream gives no answer. */
const peersLimit = 1_000

/** All askers of one tag in one moment share an upstream request, which none of them can cancel; it has its own deadlines. */
const resolveLimit = 30_000

/**
 * Tags: what upstream confirmed a moment ago, else what upstream says now. Where it gives no answer, what this node last heard from
 * it, or in a closed swarm the newest that a member has signed. Strangers are asked only where the user wants it, while upstream
 * can't be reached at all, and for what this node does not know itself.
 */
export class Tags implements TagResolver {
  readonly #options: TagsOptions
  readonly #now: () => number
  readonly #fleet: FleetTags | undefined
  readonly #asking = new Map<string, Promise<TagRecord>>()

  constructor(options: TagsOptions) {
    this.#options = options
    this.#now = options.now ?? Date.now
    const { peers, sharing, trust } = options
    const patience = Math.min(fleetPatience, options.patience * fleetShare)
    this.#fleet = trust.whileAnswered ? new FleetTags({ peers, sharing, patience, now: this.#now }) : undefined
  }

  async resolve(request: TagRequest): Promise<ResolvedTag> {
    const question = this.#questionOf(request)
    const { reference, mustAsk, freshFor, doubted } = question
    const mine = await this.#mine(question)
    if (mine !== undefined && mine.digest !== doubted && this.#isFresh(mine, freshFor)) return fresh(mine)
    // Whoever insists on upstream's answer does not share one that was asked for before.
    const asking = mustAsk ? this.#askUpstream(request, question) : this.#ask(request, question)
    // Those who know it have it from the same registry.
    if (doubted !== undefined) return this.#settleDoubt(asking, question, request)
    const lastConfirmed = async (reason?: unknown) =>
      mustAsk ? undefined : await this.#lastConfirmed(request, question, mine, isAway(reason))
    try {
      const { upstream, patience } = this.#options
      const limit = patienceWith(upstream, request.repository.registry, patience)
      const answer = await waitFor(asking, limit, request.signal)
      if (answer !== undefined) return fresh(answer)
      const last = await lastConfirmed()
      if (last !== undefined) return last
      // Nobody knows the tag but upstream, if it ever answers.
      const late = await waitFor(asking, resolveLimit, request.signal)
      if (late === undefined) throw new UpstreamError('unreachable', `${request.repository.registry} does not answer`)
      return fresh(late)
    } catch (error) {
      request.signal.throwIfAborted()
      const last = isOffline(error) ? await lastConfirmed(error) : undefined
      if (last === undefined) throw toOciError(error, 'manifest', reference, this.#whoElseWasAsked(question, error))
      return last
    }
  }

  /**
   * What was last confirmed of a list of a repository, which is known as a tag is.
   * @param reference its `listReference`
   * @param isUpstreamAway whether upstream can't be reached at all; undefined where no peer is to be asked
   */
  async lastList(
    request: ListAsker,
    reference: string,
    isUpstreamAway: boolean | undefined,
  ): Promise<ResolvedTag | undefined> {
    const question = this.#questionOf(request, reference)
    const mine = await this.#mine(question)
    if (question.mustAsk || isUpstreamAway === undefined) return mine
    return await this.#lastConfirmed(request, question, mine, isUpstreamAway)
  }

  /** Keeps what upstream has said now of a list. @param isPublic whether without credentials */
  async keepList(
    request: ListAsker,
    reference: string,
    list: Pick<TagRecord, 'digest' | 'mediaType'>,
    isPublic: boolean,
  ): Promise<void> {
    const question = this.#questionOf(request, reference)
    const { identity } = question
    await this.#keep({ ...list, public: isPublic, identity, confirmedAt: this.#now() }, question)
  }

  async #settleDoubt(
    asking: Promise<TagRecord>,
    { reference }: Question,
    { signal }: TagRequest,
  ): Promise<ResolvedTag> {
    try {
      const answer = await waitFor(asking, this.#options.patience, signal)
      if (answer === undefined) throw new UpstreamError('unreachable', 'its registry does not answer')
      return fresh(answer)
    } catch (error) {
      signal.throwIfAborted()
      throw toOciError(error, 'manifest', reference)
    }
  }

  #questionOf(request: ListAsker & Partial<TagRequest>, list?: string): Question {
    const { rules, access } = this.#options
    const repository = repositoryText(request.repository)
    const { tag = '', doubted } = request
    return {
      reference: list ?? `${repository}:${tag}`,
      identity: access.identityOf(request),
      doubted,
      mustAsk: request.isRefresh === true || rules.mustAsk(repository),
      mayCache: rules.mayCache(repository),
      mayShare: rules.mayShare(repository),
      freshFor: list === undefined ? rules.freshFor(repository, tag) : 0,
    }
  }

  /** What this node knows and the asker may know. */
  async #mine({ reference, identity, mustAsk, mayCache, freshFor }: Question): Promise<TagRecord | undefined> {
    if (mustAsk || !mayCache) return undefined
    const { metadata } = this.#options
    const known = await metadata.tag(reference)
    // What was heard from a peer is worth nothing once peers are not trusted.
    if (known?.heard !== undefined && this.#options.trust.otherwise === 'nobody') return undefined
    if (known !== undefined && (known.public || known.identity === identity)) return known
    return freshFor === Number.POSITIVE_INFINITY ? await metadata.tag(ownReference(reference, identity)) : undefined
  }

  async #keep(record: TagRecord, { reference, identity, mayCache, freshFor }: Question): Promise<void> {
    if (!mayCache) return
    const { metadata } = this.#options
    await metadata.putTag(reference, record)
    // Another identity's answer takes the place of this one's, which is to be asked for once only.
    const isForGood = freshFor === Number.POSITIVE_INFINITY && !record.public
    if (isForGood) await metadata.putTag(ownReference(reference, identity), record)
  }

  #isFresh(tag: TagRecord, freshFor: number): boolean {
    if (freshFor === Number.POSITIVE_INFINITY) return true
    const age = this.#now() - tag.confirmedAt
    return age >= 0 && age < freshFor
  }

  #ask(request: TagRequest, question: Question): Promise<TagRecord> {
    const key = `${question.reference} ${question.identity} ${question.doubted ?? ''}`
    const running = this.#asking.get(key)
    if (running !== undefined) return running
    const asking = this.#askFleet(request, question).finally(() => this.#asking.delete(key))
    this.#asking.set(key, asking)
    return asking
  }

  /** One node of a fleet asks upstream, where the others believe it. */
  async #askFleet(request: TagRequest, question: Question): Promise<TagRecord> {
    const { reference, doubted, freshFor } = question
    if (doubted !== undefined) return this.#askUpstream(request, question)
    // Where nothing is fresh, what another node has heard is of no use.
    const isAsked = freshFor > 0 && (await this.#options.publicity.knows(request)) === true
    const fleet = isAsked ? this.#fleet : undefined
    const told = await fleet?.freshFromPeers(reference, freshFor, AbortSignal.timeout(resolveLimit))
    if (told !== undefined) {
      this.#log(reference, told)
      const record = heardRecord(told, question.identity)
      await this.#keep(record, question)
      return record
    }
    let hasAnswer = false
    try {
      const record = await this.#askUpstream(request, question)
      hasAnswer = true
      return record
    } finally {
      fleet?.asked(reference, hasAnswer)
    }
  }

  async #askUpstream(request: TagRequest, question: Question): Promise<TagRecord> {
    const { upstream, access } = this.#options
    const { repository, authorization, isGuest, tag, doubted } = request
    const signal = AbortSignal.timeout(resolveLimit)
    const who = { repository, authorization, isGuest, signal }
    const found = await upstream.resolveManifest({ ...who, reference: tag, doubted })
    const asker = { ...who, kind: 'manifest', digest: found.digest } as const
    const granted = await access.accepted(asker, found.access)
    if (found.bytes !== undefined && question.mayCache && granted !== 'foreign') {
      const facts = { mediaType: found.mediaType, public: granted === 'public', repository: repositoryText(repository) }
      await this.#options.keep(found.digest, found.bytes, facts)
    }
    const record: TagRecord = {
      digest: found.digest,
      mediaType: found.mediaType,
      size: found.size,
      public: granted === 'public',
      identity: question.identity,
      confirmedAt: this.#now(),
    }
    await this.#keep(record, question)
    return record
  }

  /** @param isUpstreamAway whether upstream can't be reached at all */
  async #lastConfirmed(
    request: ListAsker,
    question: Question,
    own: TagRecord | undefined,
    isUpstreamAway: boolean,
  ): Promise<ResolvedTag | undefined> {
    const { reference } = question
    const { peers, trust, publicity } = this.#options
    const isTrusted =
      trust.otherwise === 'strangers' ? isUpstreamAway && own === undefined : trust.otherwise === 'members'
    const isAsked = isTrusted && (await publicity.mayTellUnasked(request))
    const limited = AbortSignal.any([request.signal, AbortSignal.timeout(peersLimit)])
    const told = isAsked ? await peers.newest(reference, limited) : undefined
    if (told === undefined || (own !== undefined && !this.#isOlder(own, told)))
      return own && { digest: own.digest, confirmedAt: own.confirmedAt }
    this.#log(reference, told)
    // The member may be gone when somebody asks this node.
    if (trust.otherwise === 'members') await this.#keepHeard(told, question)
    return { digest: told.digest, confirmedAt: told.confirmedAt, confirmedBy: told.signer }
  }

  /** In the place of no record but what was heard before, or was this asker's: nobody pushes out what upstream has said to others. */
  async #keepHeard(told: ToldTag, question: Question): Promise<void> {
    const before = await this.#options.metadata.tag(question.reference)
    const isFree = before === undefined || before.heard !== undefined || before.identity === question.identity
    if (isFree) await this.#keep(heardRecord(told, question.identity), question)
  }

  /** A clock that was set back must not make what was noted before the newest for as long as it was ahead. */
  #isOlder(own: TagRecord, told: ToldTag): boolean {
    return own.confirmedAt < told.confirmedAt || own.confirmedAt > this.#now()
  }

  /** For a person who wonders why a tag is not known. */
  #whoElseWasAsked(question: Question, error: unknown): string {
    if (question.mustAsk || !question.mayShare) return nobodyElseIsAsked
    const { otherwise } = this.#options.trust
    if (otherwise === 'nobody') return tagsAreNotAsked
    return otherwise === 'members' || isAway(error) ? noPeerHasIt : nobodyElseIsAsked
  }

  #log(reference: string, { digest, signer, peer, confirmedAt }: ToldTag): void {
    const facts = { reference, digest, signer, peer, confirmedAt: new Date(confirmedAt).toISOString() }
    this.#options.logger.info(facts, 'a peer says what a tag is')
  }
}
