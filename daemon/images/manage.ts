import type { Digest } from '../../proxy/oci/digest.ts'
import { repositoryText } from '../../proxy/oci/name.ts'
import type { TagResolver } from '../../proxy/ports.ts'
import { ControlError } from '../control/operation.ts'
import type { Pins } from '../local/pins.ts'
import type { ImageRemover } from '../local/remove-image.ts'
import type { BlobStore } from '../store/blob-store.ts'
import type { Metadata } from '../store/metadata.ts'
import type { ImageList } from './list.ts'
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
    if (pins.has(repository, referenceOf(name))) {
      throw new ControlError(`${nameText(name)} is pinned: "layerd unpin ${nameText(name)}" comes first`)
    }
    const reference = `${repository}:${name.tag}`
    const digest = name.digest ?? (await metadata.tag(reference))?.digest
    const isKnown = digest !== undefined && store.record(digest)?.repositories.includes(repository) === true
    if (!isKnown) throw new ControlError(`${nameText(name)} is not here: "layerd images" lists what is`)
    if (name.digest === undefined)
      await metadata.dropTags((one) => one === reference || one.startsWith(`${reference} `))
    const images = await list.images()
    const tags = images.filter((image) => image.digest === digest && image.name.startsWith(`${repository}:`))
    // Another tag of it still needs it.
    if (tags.length > 0 && name.digest === undefined) return
    const gone = new Set(tags.map((image) => image.name))
    if (gone.size > 0) await metadata.dropTags((one) => gone.has(one.split(' ')[0] ?? ''))
    const needed = new Set<Digest>()
    for (const image of images) {
      if (image.digest !== digest) for (const one of await list.contentOf(image.digest)) needed.add(one)
    }
    await this.#drop(await list.contentOf(digest), needed)
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
    const named = await list.namedContent()
    const unnamed = store.digests().filter((digest) => {
      const record = store.record(digest)
      return record !== undefined && record.kept !== true && !named.has(digest) && now - record.lastAccess > unnamedAge
    })
    const bytes = unnamed.reduce((sum, digest) => sum + (store.record(digest)?.size ?? 0), 0)
    const found = {
      unnamed: { blobs: unnamed.length, bytes },
      parts: { blobs: store.partials.idle, bytes: store.partials.idleBytes },
    }
    if (isDry) return found
    await this.#drop(new Set(unnamed), new Set())
    for (let left = found.parts.blobs; left > 0; left--) await store.partials.dropOldest()
    return found
  }

  async #drop(digests: ReadonlySet<Digest>, except: ReadonlySet<Digest>): Promise<void> {
    const { store } = this.#options
    for (const digest of digests) {
      if (!except.has(digest) && store.record(digest)?.kept !== true) await store.remove(digest)
    }
  }
}

/** What a pin is kept under. */
function referenceOf({ tag, digest }: ImageName): string {
  return digest ?? tag ?? ''
}
