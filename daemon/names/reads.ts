import { setTimeout as delay } from 'node:timers/promises'
import type { Digest } from '../../proxy/oci/digest.ts'
import { OciError } from '../../proxy/oci/errors.ts'
import { type Descriptor, readPushedManifest } from '../../proxy/oci/pushed-manifest.ts'
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
import { Questions } from './questions.ts'
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
  readonly #questions = new Questions()

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

  /** What is only with peers is not there: clients that push ask so, for a digest, and would not push it. */
  async stat(request: ContentRequest): Promise<ContentInfo> {
    this.#questions.note(request.repository.name, request.digest)
    return (await this.held(request)) ?? (await this.#options.own.stat(request))
  }

  async held(request: ContentRequest): Promise<ContentInfo | undefined> {
    const { own, peers, isHere } = this.#options
    const held = await own.held(request)
    if (held !== undefined || !isHere(request.digest, request.repository.name)) return held
    return await peers.held(request)
  }

  async resolve(request: TagRequest): Promise<ResolvedTag> {
    const { own, names } = this.#options
    const { repository, tag, doubted, isHead = false } = request
    const { name, conflicts, offers, passedOver } = names.choose(repository.name, tag)
    if (name?.digest !== undefined && name.digest !== doubted) {
      const { digest, mediaType, size } = name
      if (isHead) await this.#assertNotPushed(request, digest)
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
   * A push that is told the digest that it is about to push is not made. So that is told only of a manifest that this node keeps, or
   * can give and that no client is about to push.
   * @throws {OciError} where the client should push, or where nobody has the manifest
   */
  async #assertNotPushed(request: TagRequest, digest: Digest): Promise<void> {
    const { repository, tag, signal } = request
    const asked: ContentRequest = { ...request, kind: 'manifest', digest }
    if ((await this.#options.own.held(asked)) !== undefined) return
    const parts = partsOf(await readWhole(await this.open(asked), signal))
    // Of a part that was uploaded without a question, this node knows itself.
    const isAsked = (part: Digest) => this.#questions.has(repository.name, part)
    if (!parts.some(({ digest: part }) => isAsked(part))) return
    for (const { kind, digest: part } of parts)
      if (!isAsked(part) && (await this.#options.own.held({ ...asked, kind, digest: part })) === undefined) return
    const text = `${repository.name}:${tag} was pushed to a peer, and is being pushed to this node, which does not keep it yet`
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
      return await readWhole(content, signal).catch(() => undefined)
    },
  }
}

/** What a push of a manifest asks for before it; nothing where a peer's is none that could be pushed here. */
function partsOf(bytes: Uint8Array): { readonly kind: ContentRequest['kind']; readonly digest: Digest }[] {
  try {
    const { blobs, manifests } = readPushedManifest(bytes, undefined)
    const of = (kind: ContentRequest['kind']) => (one: Descriptor) => ({ kind, digest: one.digest })
    return [...blobs.map(of('blob')), ...manifests.map(of('manifest'))]
  } catch {
    return []
  }
}

/** Reads content that is a manifest, and closes it. */
async function readWhole(content: Content, signal: AbortSignal): Promise<Buffer> {
  try {
    const pieces: Uint8Array[] = []
    for await (const piece of content.read(0, undefined, signal)) pieces.push(Uint8Array.from(piece))
    return Buffer.concat(pieces)
  } finally {
    await content.close()
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
