import { repositoryText } from '../../proxy/oci/name.ts'
import type { ResolvedTag, TagRequest, TagResolver } from '../../proxy/ports.ts'
import { type Upstream, UpstreamError } from '../../proxy/upstream/types.ts'
import type { Metadata, TagRecord } from '../store/metadata.ts'
import type { Swarm } from '../swarm/ports.ts'
import type { AccessControl, Identity } from './access.ts'
import { isOffline, toOciError } from './errors.ts'
import { FleetTags } from './fleet-tags.ts'
import { patienceWith, waitFor } from './wait.ts'

interface TagsOptions {
  readonly metadata: Pick<Metadata, 'tag' | 'putTag'>
  readonly swarm: Pick<Swarm, 'tags' | 'claim'>
  /** Whether what peers have just heard from upstream is believed while upstream could be asked. */
  readonly trustPeers: boolean
  readonly upstream: Pick<Upstream, 'resolveManifest' | 'isSilent'>
  readonly access: Pick<AccessControl, 'identityOf' | 'accepted'>
  /** How long a confirmed tag is answered without asking upstream again, in ms. */
  readonly freshFor: number
  /** How long upstream may take before what was last confirmed is used instead, in ms. */
  readonly patience: number
  readonly now?: () => number
}

/** How long another node that asks upstream is waited for, in ms, and as a share of the patience that upstream gets. */
const fleetPatience = 2_000
const fleetShare = 0.4

/** How long peers have to say what they know of a tag, in ms; only used while upstream can't be asked. */
const peersLimit = 1_000

/** All askers of one tag in one moment share an upstream request, which none of them can cancel; it has its own deadlines. */
const resolveLimit = 30_000

/**
 * Tags: what upstream confirmed a moment ago, else what upstream says now, and only while upstream can't answer what this
 * node or its peers last heard from it, newest first.
 */
export class Tags implements TagResolver {
  readonly #options: TagsOptions
  readonly #now: () => number
  readonly #fleet: FleetTags | undefined
  readonly #asking = new Map<string, Promise<TagRecord>>()

  constructor(options: TagsOptions) {
    this.#options = options
    this.#now = options.now ?? Date.now
    const { swarm, freshFor, trustPeers } = options
    const patience = Math.min(fleetPatience, options.patience * fleetShare)
    this.#fleet = trustPeers ? new FleetTags({ swarm, freshFor, patience, now: this.#now }) : undefined
  }

  async resolve(request: TagRequest): Promise<ResolvedTag> {
    const reference = `${repositoryText(request.repository)}:${request.tag}`
    const identity = this.#options.access.identityOf(request)
    const known = await this.#options.metadata.tag(reference)
    const mine = known !== undefined && (known.public || known.identity === identity) ? known : undefined
    const { doubted } = request
    if (mine !== undefined && mine.digest !== doubted && this.#isFresh(mine)) return fresh(mine)
    const asking = this.#ask(request, reference, identity)
    // Those who know it have it from the same registry.
    if (doubted !== undefined) return this.#settleDoubt(asking, reference, request)
    const lastConfirmed = () => this.#lastConfirmed(reference, mine, request.signal)
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
      const last = isOffline(error) ? await lastConfirmed() : undefined
      if (last === undefined) throw toOciError(error, 'manifest', reference)
      return last
    }
  }

  async #settleDoubt(asking: Promise<TagRecord>, reference: string, { signal }: TagRequest): Promise<ResolvedTag> {
    try {
      const answer = await waitFor(asking, this.#options.patience, signal)
      if (answer === undefined) throw new UpstreamError('unreachable', 'its registry does not answer')
      return fresh(answer)
    } catch (error) {
      signal.throwIfAborted()
      throw toOciError(error, 'manifest', reference)
    }
  }

  #isFresh(tag: TagRecord): boolean {
    const age = this.#now() - tag.confirmedAt
    return age >= 0 && age < this.#options.freshFor
  }

  #ask(request: TagRequest, reference: string, identity: Identity): Promise<TagRecord> {
    const key = `${reference} ${identity} ${request.doubted ?? ''}`
    const running = this.#asking.get(key)
    if (running !== undefined) return running
    const asking = this.#askFleet(request, reference, identity).finally(() => this.#asking.delete(key))
    this.#asking.set(key, asking)
    return asking
  }

  /** One node of a fleet asks upstream, where the others believe it. */
  async #askFleet(request: TagRequest, reference: string, identity: Identity): Promise<TagRecord> {
    if (request.doubted !== undefined) return this.#askUpstream(request, reference, identity)
    const told = await this.#fleet?.freshFromPeers(reference, AbortSignal.timeout(resolveLimit))
    if (told !== undefined) {
      // It is known for this asker only: who may have the content is found out when it is asked for.
      const record = { ...told, public: false, identity }
      await this.#options.metadata.putTag(reference, record)
      return record
    }
    let hasAnswer = false
    try {
      const record = await this.#askUpstream(request, reference, identity)
      hasAnswer = true
      return record
    } finally {
      void this.#fleet?.asked(reference, hasAnswer)
    }
  }

  async #askUpstream(request: TagRequest, reference: string, identity: Identity): Promise<TagRecord> {
    const { metadata, upstream, access } = this.#options
    const { repository, authorization, tag, doubted } = request
    const signal = AbortSignal.timeout(resolveLimit)
    const found = await upstream.resolveManifest({ repository, authorization, reference: tag, doubted, signal })
    const asker = { kind: 'manifest', digest: found.digest, repository, authorization, signal } as const
    const granted = await access.accepted(asker, found.access)
    const record: TagRecord = {
      digest: found.digest,
      mediaType: found.mediaType,
      size: found.size,
      public: granted === 'public',
      identity,
      confirmedAt: this.#now(),
    }
    await metadata.putTag(reference, record)
    return record
  }

  async #lastConfirmed(
    reference: string,
    own: TagRecord | undefined,
    signal: AbortSignal,
  ): Promise<ResolvedTag | undefined> {
    const limited = AbortSignal.any([signal, AbortSignal.timeout(peersLimit)])
    const known = [...(await this.#options.swarm.tags(reference, limited)), ...(own === undefined ? [] : [own])]
    const [newest] = known.sort((a, b) => b.confirmedAt - a.confirmedAt)
    return newest && { digest: newest.digest, confirmedAt: newest.confirmedAt }
  }
}

function fresh({ digest, mediaType, size }: TagRecord): ResolvedTag {
  return { digest, mediaType, size }
}
