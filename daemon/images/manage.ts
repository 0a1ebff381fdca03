import { type Digest, isDigest } from '../../proxy/oci/digest.ts'
import { isManifestMediaType } from '../../proxy/oci/manifest.ts'
import { repositoryText } from '../../proxy/oci/name.ts'
import type { TagResolver } from '../../proxy/ports.ts'
import { ControlError } from '../control/operation.ts'
import type { Pins } from '../local/pins.ts'
import type { ImageRemover } from '../local/remove-image.ts'
import type { BlobStore } from '../store/blob-store.ts'
import type { BlobRecord, Metadata } from '../store/metadata.ts'
import type { ImageList, ImageRoot } from './list.ts'
import { NamedContent } from './named-content.ts'
import { type ImageName, type ImageNames, nameText } from './names.ts'
import type { Pulled } from './pull.ts'
import { blobsOf } from './tree.ts'

interface ManageOptions {
  readonly names: ImageNames
  readonly tags: TagResolver
  readonly list: ImageList
  readonly pins: Pins
  readonly remover: Pick<ImageRemover, 'remove'>
  readonly store: BlobStore
  readonly metadata: Pick<Metadata, 'tag' | 'dropTags'>
  readonly now?: () => number
}

/** What was removed, or would be. */
export interface Freed {
  readonly blobs: number
  readonly bytes: number
}

/** Content that no manifest names is left alone for so long after its last use, in ms: its manifest may be on its way. */
const unnamedAge = 3_600_000

/** Keeps images, removes them, and asks what their tags are. */
export class ImageManager {
  readonly #options: ManageOptions

  constructor(options: ManageOptions) {
    this.#options = options
  }

  /** Keeps what was pulled until it is unpinned. @throws {ControlError} */
  async pin(text: string, { manifests }: Pick<Pulled, 'manifests'>): Promise<void> {
    const { names, pins } = this.#options
    const name = names.parse(text)
    // What was pushed to this node is kept in any case.
    if (name.isLocal) return
    const digests = [...new Set([...manifests, ...blobsOf(manifests)].map((one) => one.digest))]
    if (await pins.add(repositoryText(name.repository), referenceOf(name), digests)) return
    throw new ControlError(
      `a part of ${nameText(name)} was evicted meanwhile: make room (store.maxSize), and pin it again`,
    )
  }

  /** @throws {ControlError} where it is not pinned */
  async unpin(text: string): Promise<{ name: string }> {
    const { names, pins } = this.#options
    const name = names.parse(text)
    if (name.isLocal)
      throw new ControlError(`${nameText(name)} was pushed to this node, which keeps it: "layerd rm" removes it`)
    if (await pins.remove(repositoryText(name.repository), referenceOf(name))) return { name: nameText(name) }
    throw new ControlError(`${nameText(name)} is not pinned: "layerd images" lists what is`)
  }

  /**
   * Removes an image, with all that no other image here has.
   * @throws {OciError}, {ControlError} where it is not here, or pinned
   */
  async remove(text: string): Promise<{ name: string } & Freed> {
    const { names, remover, store } = this.#options
    const name = names.parse(text)
    const before = new Map(store.digests().map((digest) => [digest, store.record(digest)?.size ?? 0]))
    if (name.isLocal) {
      const reference = name.digest ?? { tag: name.tag ?? '' }
      await remover.remove(name.repository.name, reference)
    } else await this.#removeCached(name)
    const gone = [...before].filter(([digest]) => !store.has(digest))
    return { name: nameText(name), blobs: gone.length, bytes: gone.reduce((sum, [, size]) => sum + size, 0) }
  }

  async #removeCached(name: ImageName): Promise<void> {
    const { pins, metadata, list, store } = this.#options
    const repository = repositoryText(name.repository)
    const reference = `${repository}:${name.tag}`
    const digest = name.digest ?? (await metadata.tag(reference))?.digest
    const isOfThis = (one: ImageRoot) => one.repository === repository && one.digest === digest
    const tagged = await list.tagged()
    const record = digest === undefined ? undefined : store.record(digest)
    // What is public is given under one more name without being noted as its.
    const isKnown = record !== undefined && (record.repositories.includes(repository) || tagged.some(isOfThis))
    if (digest === undefined || !isKnown)
      throw new ControlError(`${nameText(name)} is not here: "layerd images" lists what is`)
    // A tag may be something else now than what was pinned under it.
    const [pinned] = pins.of(repository, digest).filter((one) => name.digest !== undefined || one === name.tag)
    if (pinned !== undefined) {
      const pin = `${repository}${isDigest(pinned) ? '@' : ':'}${pinned}`
      throw new ControlError(`${nameText(name)} is pinned: "layerd unpin ${pin}" comes first`)
    }
    const started = (this.#options.now ?? Date.now)()
    const seen = this.#seen()
    const tags = tagged.filter(isOfThis).flatMap(({ tag }) => tag ?? [])
    const gone = new Set(name.digest === undefined ? [reference] : tags.map((tag) => `${repository}:${tag}`))
    const dropTags = () => metadata.dropTags((one) => gone.has(one.split(' ')[0] ?? ''))
    // Another tag of it still needs it.
    if (name.digest === undefined && tags.some((tag) => tag !== name.tag)) return await dropTags()
    const content = new NamedContent(store)
    const removed = await content.of(digest)
    const others = [
      ...tagged.filter((one) => !isOfThis(one)).map((one) => one.digest),
      ...[...seen.keys()].filter((one) => !removed.has(one) && isManifestMediaType(seen.get(one)?.mediaType)),
    ]
    const needed = new Set<Digest>()
    for (const other of new Set(others)) for (const one of await content.of(other)) needed.add(one)
    await dropTags()
    const unneeded = [...removed].filter((one) => !needed.has(one))
    await this.#drop(unneeded, seen, started)
  }

  /** Asks the registry of a tag what it is now. @throws {OciError} where it gives no answer; {ControlError} for what is no tag of one */
  async refresh(
    text: string,
    signal: AbortSignal,
  ): Promise<{ name: string; before: Digest | undefined; digest: Digest }> {
    const { names, tags, metadata } = this.#options
    const name = names.parse(text)
    const { repository, tag } = name
    if (name.isLocal) throw new ControlError(`${nameText(name)} is of this node itself: there is no registry to ask`)
    if (tag === undefined || name.digest !== undefined)
      throw new ControlError(`${nameText(name)} is a digest, which never changes: give a tag`)
    const before = await metadata.tag(`${repositoryText(repository)}:${tag}`)
    const { digest } = await tags.resolve({ repository, tag, signal, isRefresh: true })
    return { name: nameText(name), before: before?.digest, digest }
  }

  /**
   * Removes what no manifest here names, and parts of blobs that nobody fetches. What was pushed, or is pinned, stays.
   * @param isDry nothing is removed
   */
  async collect(isDry: boolean): Promise<{ unnamed: Freed; parts: Freed }> {
    const { list, store } = this.#options
    const now = (this.#options.now ?? Date.now)()
    const seen = this.#seen()
    const content = new NamedContent(store)
    const named = new Set<Digest>()
    const manifests = [...seen].filter(([, { mediaType }]) => isManifestMediaType(mediaType)).map(([digest]) => digest)
    const tagged = (await list.tagged()).map(({ digest }) => digest)
    for (const digest of new Set([...manifests, ...tagged])) {
      for (const one of await content.of(digest)) named.add(one)
    }
    const isUnnamed = (digest: Digest, record: BlobRecord) =>
      record.kept !== true && !named.has(digest) && now - record.lastAccess > unnamedAge
    const unnamed = [...seen].filter(([digest, record]) => isUnnamed(digest, record))
    const bytes = unnamed.reduce((sum, [, { size }]) => sum + size, 0)
    const found = {
      unnamed: { blobs: unnamed.length, bytes },
      parts: { blobs: store.partials.idle, bytes: store.partials.idleBytes },
    }
    if (isDry) return found
    const digests = unnamed.map(([digest]) => digest)
    await this.#drop(digests, seen, now)
    for (let left = found.parts.blobs; left > 0; left--) await store.partials.dropOldest()
    return found
  }

  /** What is here now, as it is. */
  #seen(): ReadonlyMap<Digest, BlobRecord> {
    const { store } = this.#options
    return new Map(
      store.digests().flatMap((digest) => {
        const record = store.record(digest)
        return record === undefined ? [] : [[digest, record] as const]
      }),
    )
  }

  /**
   * Drops what is as it was seen. An image that is pulled or pushed meanwhile may share a part with what goes.
   * @param seen what was here then
   * @param since when that was, in ms since the epoch: what was used later stays
   */
  async #drop(digests: readonly Digest[], seen: ReadonlyMap<Digest, BlobRecord>, since: number): Promise<void> {
    const { store } = this.#options
    for (const digest of digests) {
      const record = store.record(digest)
      if (record === undefined || record.kept === true || record.lastAccess > since) continue
      await store.remove(digest, seen.get(digest))
    }
  }
}

/** What a pin is kept under. */
function referenceOf({ tag, digest }: ImageName): string {
  return digest ?? tag ?? ''
}
