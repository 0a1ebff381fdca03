import type { Logger } from 'pino'
import type { Digest } from '../../proxy/oci/digest.ts'
import { OciError } from '../../proxy/oci/errors.ts'
import type { Repository } from '../../proxy/oci/name.ts'
import { isArtifactType, readPushedManifest } from '../../proxy/oci/pushed-manifest.ts'
import type { LocalNames, LocalRegistry, ManifestPush, PushRequest } from '../../proxy/ports.ts'
import { pushing } from '../local/errors.ts'
import type { LocalRecords } from '../local/records.ts'
import type { OwnRegistry } from '../local/registry.ts'
import type { ImageRemover, Removed } from '../local/remove-image.ts'
import type { SignedName } from '../swarm/ports.ts'
import type { Named, SharedNames } from './names.ts'
import { nameOf } from './signed-name.ts'

/** Layers that a log line names. */
const maxShown = 5

interface SharedRegistryOptions {
  readonly own: OwnRegistry
  readonly records: LocalRecords
  readonly remover: Pick<ImageRemover, 'remove'>
  readonly names: SharedNames
  /** Fetches from peers what a manifest names, and a repository lacks. */
  readonly fetchParts: (request: PushRequest, manifest: Uint8Array) => Promise<void>
  /** Whether strangers hear of what is pushed to a repository. */
  readonly isOfferedToAll: (name: string) => boolean
  /** Whether peers may have content of this node's repositories. */
  readonly isTold: (digest: Digest) => boolean
  /** Whether only known peers are in the swarm, who share their names. */
  readonly isClosed: boolean
  readonly logger: Pick<Logger, 'info' | 'warn'>
}

/** The registry of this node, whose names are published: what is pushed here is a record before the client hears that it is done. */
export class SharedRegistry implements LocalRegistry, LocalNames {
  readonly #options: SharedRegistryOptions

  constructor(options: SharedRegistryOptions) {
    this.#options = options
  }

  get registry(): string {
    return this.#options.own.registry
  }

  /**
   * Of what peers push, names of one part alone: Docker asks its mirrors for all others, and no peer is to decide what those are.
   */
  has(name: string, reference?: string): boolean {
    const { own, names } = this.#options
    return own.has(name, reference) || (!name.includes('/') && names.has(name))
  }

  isBegun(name: string): boolean {
    return this.#options.own.isBegun(name)
  }

  isHidden(name: string): boolean {
    return this.#options.own.isHidden(name)
  }

  newRepository(name: string, isChosen?: boolean) {
    return this.#options.own.newRepository(name, isChosen)
  }

  /** Whether strangers hear of what is in a repository. */
  isOfferedToAll(name: string): boolean {
    return this.#options.isOfferedToAll(name)
  }

  isHeld(repository: Repository): boolean {
    return this.#options.own.isHeld(repository)
  }

  names(): readonly string[] {
    const { own, records, names } = this.#options
    const elsewhere = names.repositories().filter((name) => records.get(name) === undefined)
    const shown = elsewhere.map((name) => (this.has(name) ? name : `${this.registry}/${name}`))
    return [...own.names(), ...shown].sort()
  }

  mount(request: PushRequest, digest: Digest, from: Repository | undefined): Promise<boolean> {
    return this.#options.own.mount(request, digest, from)
  }

  async putManifest(request: PushRequest, push: ManifestPush) {
    const { logger } = this.#options
    const { name } = request
    const put = await this.#put(request, push)
    for (const tag of push.tags) await this.#publish(name, tag)
    if (put.subject !== undefined) await this.#publish(name, put.digest)
    const [tag] = push.tags
    if (tag !== undefined && this.isOfferedToAll(name)) {
      const text =
        'pushed, and offered to whoever is on this network; registry.offerPushes (closed, never) changes that'
      logger.info({ name: nameOf({ repository: name, reference: tag }), digest: put.digest }, text)
    }
    this.#noteHidden(name, put.digest, push)
    return put
  }

  async deleteManifest(request: PushRequest, reference: Digest | { readonly tag: string }): Promise<void> {
    const { own } = this.#options
    const { name } = request
    const named = this.#referencesTo(name, reference)
    const gone = this.#digestOf(name, reference)
    // What only peers have is deleted by saying so; of the rest, the client hears that it is not there.
    if (this.#isOwn(name, reference) || named.length === 0) await own.deleteManifest(request, reference)
    for (const one of named) await this.#unpublish(name, one, gone)
  }

  /**
   * Removes an image that was pushed here, with all that nothing else names, and its names; in a closed swarm for all members. A tag
   * that a peer has pushed since stays what it is there.
   * @throws {OciError} MANIFEST_UNKNOWN
   */
  async remove(name: string, reference: { readonly tag: string } | Digest): Promise<Removed> {
    const { remover, records, names, isClosed, logger } = this.#options
    if (!this.#isOwn(name, reference)) {
      const said = names.all(name).find((one) => one.reference === reference || one.digest === reference)
      const peers = typeof reference === 'string' ? said : names.choose(name, reference.tag).name
      if (peers !== undefined) throw notHere(peers)
    }
    const gone = this.#digestOf(name, reference)
    const isReplaced = typeof reference !== 'string' && records.get(name)?.tags.get(reference.tag) !== gone
    const named = isReplaced && gone !== undefined ? [] : this.#referencesTo(name, reference)
    const removed = await remover.remove(name, reference)
    for (const one of named) await this.#unpublish(name, one, gone)
    const shown = named.map((one) => nameOf({ repository: name, reference: one }))
    if (isClosed && named.length > 0) logger.info({ names: shown }, 'removed, for all members of this swarm')
    return removed
  }

  deleteBlob(request: PushRequest, digest: Digest): Promise<void> {
    return this.#options.own.deleteBlob(request, digest)
  }

  /**
   * Publishes what an earlier version has not. What was published stays: peers may have told a later push of this node, of which
   * its own records know nothing.
   */
  async reconcile(): Promise<void> {
    const { records, names } = this.#options
    for (const name of records.names()) {
      const { tags, manifests } = records.get(name) ?? {}
      const referrers = [...(manifests ?? [])].filter(([, { subject }]) => subject !== undefined)
      for (const reference of [...(tags?.keys() ?? []), ...referrers.map(([digest]) => digest)])
        if (names.own(name, reference) === undefined) await this.#publish(name, reference, false)
    }
  }

  /** Whether it was pushed here. */
  #isOwn(name: string, reference: Digest | { readonly tag: string }): boolean {
    const repository = this.#options.records.get(name)
    const isHere =
      typeof reference === 'string' ? repository?.manifests.has(reference) : repository?.tags.has(reference.tag)
    return isHere === true
  }

  /** The image that is deleted. Undefined where a tag is that of this node's records alone. */
  #digestOf(name: string, reference: Digest | { readonly tag: string }): Digest | undefined {
    return typeof reference === 'string' ? reference : this.#options.names.choose(name, reference.tag).name?.digest
  }

  /** Names that are gone with what is deleted. Of a digest only those that are it: a tag of this node may be another image by now. */
  #referencesTo(name: string, reference: Digest | { readonly tag: string }): string[] {
    const { records, names, isClosed } = this.#options
    if (typeof reference !== 'string') {
      const said = names.choose(name, reference.tag).name
      const isPublished = said !== undefined && (isClosed || said.publisher === names.self)
      return isPublished || records.get(name)?.tags.has(reference.tag) === true ? [reference.tag] : []
    }
    const published = names.all(name).filter(({ publisher }) => isClosed || publisher === names.self)
    return published.filter(({ digest }) => digest === reference).map((one) => one.reference)
  }

  /** Peers that hear of an image on a base that they may not have would fail in the middle of a pull. */
  #noteHidden(name: string, digest: Digest, { bytes, contentType }: ManifestPush): void {
    const { isTold, logger } = this.#options
    if (!isTold(digest)) return
    const hidden = readPushedManifest(bytes, contentType).blobs.filter((blob) => !isTold(blob.digest))
    if (hidden.length === 0) return
    const layers = hidden.map((blob) => blob.digest).slice(0, maxShown)
    const text = `peers can't pull it whole: they may not have ${hidden.length} of its layers, which came from a registry and are private there, or not shared; to give them to peers all the same, add ${this.registry}/${name} to repositories.public`
    logger.warn({ repository: name, digest, layers }, text)
  }

  /** Keeps what was pushed, with what its client has left out because peers have it. */
  async #put(request: PushRequest, push: ManifestPush) {
    const { own, names, fetchParts } = this.#options
    try {
      return await own.putManifest(request, push)
    } catch (error) {
      const isIncomplete = error instanceof OciError && error.code === 'MANIFEST_BLOB_UNKNOWN'
      if (!isIncomplete || !names.isNamedByOthers(request.name)) throw error
      await fetchParts(request, push.bytes).catch(() => {
        throw error
      })
    }
    return await own.putManifest(request, push)
  }

  /** Says that a name is nothing, unless it is another image by then. What this node's own tag is was replaced before. */
  async #unpublish(name: string, reference: string, gone: Digest | undefined): Promise<void> {
    const { names } = this.#options
    const now = () => {
      const { name: chosen } = names.choose(name, reference)
      return chosen?.digest === gone ? undefined : chosen
    }
    await pushing(() => names.publish(name, reference, now))
  }

  /** Says what a name is by what this node has. */
  async #publish(name: string, reference: string, isPush = true): Promise<void> {
    await pushing(() => this.#options.names.publish(name, reference, () => this.#named(name, reference), isPush))
  }

  #named(name: string, reference: string): Named | undefined {
    const repository = this.#options.records.get(name)
    const digest = reference.includes(':') ? (reference as Digest) : repository?.tags.get(reference)
    const manifest = digest === undefined ? undefined : repository?.manifests.get(digest)
    if (digest === undefined || manifest === undefined) return undefined
    const { mediaType, size, subject, artifactType } = manifest
    // An earlier version kept what peers take for no type.
    return { digest, mediaType, size, subject, artifactType: isArtifactType(artifactType) ? artifactType : undefined }
  }
}

function notHere(said: SignedName): OciError {
  const text = `${nameOf(said)} was pushed to the peer ${said.publisher}, and is removed there; what this node has of it gives way to other content by itself`
  return new OciError('MANIFEST_UNKNOWN', text)
}
