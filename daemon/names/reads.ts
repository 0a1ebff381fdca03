import { setTimeout as delay } from 'node:timers/promises'
import type { Digest } from '../../proxy/oci/digest.ts'
import { OciError } from '../../proxy/oci/errors.ts'
import type {
  Content,
  ContentInfo,
  ContentRequest,
  ContentSource,
  ListSource,
  ResolvedTag,
  TagRequest,
  TagResolver,
} from '../../proxy/ports.ts'
import type { NamedElsewhere } from '../local/reads.ts'
import type { ManifestRecord } from '../local/records.ts'
import type { PeerId, SignedName } from '../swarm/ports.ts'
import { fingerprintOf } from './fingerprint.ts'
import type { SharedNames } from './names.ts'
import { readContent } from './read-content.ts'
import { nameOf } from './signed-name.ts'

/** Until peers are asked again for what nobody was heard to have, in ms. */
const pauses = [300, 1_000]

/** Sides of a conflict that a header names. */
const maxShown = 5

interface SharedReadsOptions {
  /** What was pushed to this node. */
  readonly own: ContentSource & TagResolver & ListSource
  /** Content that peers have, and what is here of it. */
  readonly peers: ContentSource
  readonly names: SharedNames
  /** Whether a blob that is here was fetched for a repository. */
  readonly isHere: (digest: Digest, repository: string) => boolean
}

/** Local repositories for whoever pulls: what was pushed to this node, and what its peers have pushed. */
export class SharedReads implements ContentSource, TagResolver, ListSource {
  readonly #options: SharedReadsOptions

  constructor(options: SharedReadsOptions) {
    this.#options = options
  }

  async open(request: ContentRequest): Promise<Content> {
    const { own, peers } = this.#options
    try {
      return await own.open(request)
    } catch (error) {
      if (!isMissing(error) || !(await this.#isElsewhere(request))) throw error
    }
    // No registry says no here, only silence: a peer that is busy, or has just come, may not have been heard yet.
    for (const pause of pauses) {
      const content = await peers.open(request).catch((error: unknown) => {
        if (request.signal.aborted || !isMissing(error)) throw this.#explain(error, request)
      })
      if (content !== undefined) return content
      await delay(pause, undefined, { signal: request.signal })
    }
    return await peers.open(request).catch((error: unknown) => {
      throw this.#explain(error, request)
    })
  }

  /** Whether peers may have something in a repository: others have named something in it, or this node has lost what it named. */
  async #isElsewhere(request: ContentRequest): Promise<boolean> {
    const { own, names } = this.#options
    const { name } = request.repository
    if (names.isNamedByOthers(name)) return true
    for (const { digest } of names.all(name)) {
      if (digest === undefined) continue
      if ((await own.held({ ...request, kind: 'manifest', digest })) === undefined) return true
    }
    return false
  }

  /**
   * A blob that only peers have is not there: clients that push ask so for each one, and clients that pull for none. Of manifests, whoever
   * pulls is told what can be had: containerd resolves digests so.
   */
  async stat(request: ContentRequest): Promise<ContentInfo> {
    const held = await this.held(request)
    if (held !== undefined) return held
    if (request.kind === 'blob' || request.isPushCheck === true) return await this.#options.own.stat(request)
    return await this.#inform(request)
  }

  /** A manifest that a client would push has to be kept; of what is cached, it may leave out the blobs, which the push then keeps. */
  async held(request: ContentRequest): Promise<ContentInfo | undefined> {
    const { own, peers, isHere } = this.#options
    const held = await own.held(request)
    if (held !== undefined || !isHere(request.digest, request.repository.name)) return held
    return request.kind === 'manifest' && request.isPushCheck === true ? undefined : await peers.held(request)
  }

  async resolve(request: TagRequest): Promise<ResolvedTag> {
    const { own, names } = this.#options
    const { repository, tag, doubted, isHead = false } = request
    const { name, conflicts, offers, passedOver } = names.choose(repository.name, tag)
    if (name?.digest !== undefined && name.digest !== doubted) {
      const { digest, mediaType, size } = name
      if (isHead) await this.#assertThere(request, digest)
      return { digest, mediaType, size, warning: conflicts.length === 0 ? undefined : conflictText(name, conflicts) }
    }
    const [offer] = offers
    if (offer !== undefined) throw untrusted(offer, offers.length)
    if (passedOver[0] !== undefined) throw notTheirs(passedOver[0], names.ownerOf(repository.name))
    // What somebody has deleted is not here either, though its bytes may be.
    if (names.own(repository.name, tag) === undefined) return await own.resolve(request)
    throw new OciError('MANIFEST_UNKNOWN', `the local repository ${repository.name} has no ${tag}`)
  }

  /**
   * Tells of a manifest that can be had. Nobody pulls it yet, and clients read no text of an answer to HEAD: one that may be about to push
   * gives up at another status than 404.
   * @throws {OciError} MANIFEST_UNKNOWN
   */
  async #inform(request: ContentRequest): Promise<ContentInfo> {
    try {
      const content = await this.open({ ...request, isExact: true })
      await content.close()
      const { size, mediaType, origin } = content
      return { size, mediaType, origin }
    } catch (error) {
      if (!(error instanceof OciError) || error.status !== 503) throw error
      throw new OciError('MANIFEST_UNKNOWN', error.message, { cause: error.cause })
    }
  }

  /** @throws {OciError} MANIFEST_UNKNOWN where a client should push, or nobody has the manifest */
  async #assertThere(request: TagRequest, digest: Digest): Promise<void> {
    const { repository, tag } = request
    const asked: ContentRequest = { ...request, kind: 'manifest', digest }
    if ((await this.#options.own.held(asked)) !== undefined) return
    if (request.isPushCheck !== true) return void (await this.#inform(asked))
    const text = `${repository.name}:${tag} was pushed to a peer, and this node does not keep it`
    throw new OciError('MANIFEST_UNKNOWN', text)
  }

  list(request: Parameters<ListSource['list']>[0]) {
    return this.#options.own.list(request)
  }

  #explain(error: unknown, { repository, digest }: ContentRequest): unknown {
    if (!(error instanceof OciError) || error.status !== 404) return error
    const named = this.#options.names.all(repository.name).find((one) => one.digest === digest)
    const text = `no peer that is connected at present has ${repository.name}@${digest}`
    if (named === undefined) return new OciError(error.code, text, { cause: error.cause })
    const who = `${named.publisher}, which has pushed it as ${nameOf(named)}, or one that has pulled it, has to be there`
    return new OciError('UNAVAILABLE', `${text}: ${who}`)
  }
}

/** What lists of local repositories show of what peers have pushed. */
export function namedElsewhere(names: SharedNames, peers: () => ContentSource, registry: string): NamedElsewhere {
  return {
    tags: (name) => names.all(name).flatMap(({ reference }) => (reference.includes(':') ? [] : [reference])),
    referrers: (name, subject) =>
      names.all(name).flatMap((one) => {
        const { digest, size, artifactType, mediaType = '' } = one
        if (digest === undefined || one.subject !== subject) return []
        const record: ManifestRecord = { mediaType, size, subject, artifactType }
        return [[digest, record] as const]
      }),
    manifest: async (name, digest, signal) => {
      const request = { kind: 'manifest', digest, repository: { registry, name }, signal } as const
      const content = await peers()
        .open(request)
        .catch(() => undefined)
      if (content === undefined) return undefined
      return await readContent(content, signal).catch(() => undefined)
    },
  }
}

function isMissing(error: unknown): boolean {
  return error instanceof OciError && error.status === 404
}

function conflictText(used: SignedName, others: readonly SignedName[]): string {
  const said = [used, ...others].slice(0, maxShown).map(({ publisher, digest }) => `${digest} by ${publisher}`)
  return `several peers have pushed ${nameOf(used)}, and the first of these is used: ${said.join(', ')}`
}

function untrusted(offer: SignedName, offers: number): OciError {
  const others = offers === 1 ? '' : ` (and ${offers - 1} more)`
  return new OciError('MANIFEST_UNKNOWN', untrustedText(offer.publisher, nameOf(offer), others))
}

function notTheirs(said: SignedName, owner: PeerId | undefined): OciError {
  const { publisher, repository } = said
  const text = `${publisher} has pushed ${nameOf(said)}, but here ${repository} is what ${owner} has pushed first: push it under another name, or to this node, or run: layerd untrust ${owner}`
  return new OciError('MANIFEST_UNKNOWN', text)
}

function untrustedText(publisher: PeerId, name: string, others: string): string {
  const what = `the peer ${publisher}${others} offers ${name}, and is not accepted here`
  const how = `compare its fingerprint ${fingerprintOf(publisher)} with what "layerd status" shows there`
  return `${what}: ${how}, then run: layerd trust ${publisher}`
}
