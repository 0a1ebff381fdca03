import type { Digest } from '../../proxy/oci/digest.ts'
import { isManifestMediaType } from '../../proxy/oci/manifest.ts'
import { configOf, configuredPlatform, indexedManifests } from '../../proxy/oci/platform.ts'
import { type PushedManifest, readPushedManifest } from '../../proxy/oci/pushed-manifest.ts'
import { BadArchive } from '../archive/errors.ts'
import { readArchive } from '../archive/read.ts'
import type { BlobStore } from '../store/blob-store.ts'
import type { Sha256Engine } from '../verify/sha256.ts'
import { archivedImages, type NamedImage, readLocalName } from './archived-images.ts'
import { pushing } from './errors.ts'
import type { Holdings } from './holdings.ts'
import type { LocalRecords } from './records.ts'
import type { OwnRegistry } from './registry.ts'
import { StagedFiles } from './staged-files.ts'

/** An image that was imported. */
export interface ImportedImage {
  /** As clients call it at this node. */
  readonly name: string
  readonly tags: readonly string[]
  readonly digest: Digest
  /** Such as `linux/amd64`; those that are here. */
  readonly platforms: readonly string[]
  /** Manifests of its index that the archive does not have, or has without all of their layers. */
  readonly missing: readonly Digest[]
}

interface ImportCall {
  readonly signal: AbortSignal
  send(event: ImportEvent): Promise<void>
}

type ImportEvent =
  | { readonly event: 'blob'; readonly digest: Digest; readonly bytes: number }
  | ({ readonly event: 'image' } & ImportedImage)

/** What an archive's images are put into. */
export type ImportTarget = Pick<OwnRegistry, 'registry' | 'has' | 'putManifest' | 'newRepository'>

interface ImporterOptions {
  readonly store: BlobStore
  readonly records: LocalRecords
  readonly holdings: Holdings
  readonly engine: Sha256Engine
  readonly own: ImportTarget
}

/** Indexes in indexes. */
const maxDepth = 4

/** Manifests of one archive. */
const maxManifests = 10_000

/** A manifest of an archive, and what of it is there. */
interface Found {
  readonly digest: Digest
  readonly bytes: Buffer
  readonly manifest: PushedManifest
  readonly children: readonly Found[]
  /** What it names and the archive lacks. */
  readonly missing: readonly Digest[]
  readonly platforms: readonly string[]
}

/**
 * Takes images out of an archive and into local repositories, as a push does: blobs first, manifests after what they name, a tag last.
 * What was acknowledged is durable; of an import that is cut, only the images that it told of are sure to be there.
 */
export class Importer {
  readonly #options: ImporterOptions

  constructor(options: ImporterOptions) {
    this.#options = options
  }

  /**
   * @param bytes a tar archive: an OCI layout, or what `docker save` writes
   * @param name for an image that has none in the archive, or another one for it
   * @throws {BadArchive}, {OciError}; what was told before then is there
   */
  async take(bytes: AsyncIterable<Uint8Array>, name: string | undefined, call: ImportCall): Promise<ImportedImage[]> {
    const asked = name === undefined ? undefined : readLocalName(name)
    const files = new StagedFiles(this.#options.store, this.#options.engine)
    try {
      for await (const entry of readArchive(bytes)) {
        const file = await files.take(entry, call.signal)
        if (file !== undefined) await call.send({ event: 'blob', digest: file.digest, bytes: file.size })
      }
      const imported: ImportedImage[] = []
      for (const image of await archivedImages(files, asked)) {
        call.signal.throwIfAborted()
        const result = await new ImageImport(this.#options, files, image).run(call.signal)
        await call.send({ event: 'image', ...result })
        imported.push(result)
      }
      return imported
    } finally {
      await files.end()
    }
  }
}

/** The import of one image into one repository. */
class ImageImport {
  readonly #options: ImporterOptions
  readonly #files: StagedFiles
  readonly #image: NamedImage
  readonly #found = new Map<Digest, Promise<Found | undefined>>()

  constructor(options: ImporterOptions, files: StagedFiles, image: NamedImage) {
    this.#options = options
    this.#files = files
    this.#image = image
  }

  async run(signal: AbortSignal): Promise<ImportedImage> {
    const { digest, mediaType, name, tags } = this.#image
    const root = await this.#find(digest, mediaType, 0)
    if (root === undefined) throw new BadArchive(`the archive names the image ${digest}, which is not in it`)
    if (!isUsable(root)) {
      const more = root.missing.length > 1 ? ` and ${root.missing.length - 1} more` : ''
      throw new BadArchive(`the archive does not have all of ${name} (${digest}): it lacks ${root.missing[0]}${more}`)
    }
    const order: Found[] = []
    collect(root, new Set(), order)
    for (const one of order) {
      signal.throwIfAborted()
      await this.#put(one, one === root ? tags : [], signal)
    }
    const { own } = this.#options
    const missing = order.flatMap((one) => one.missing)
    const platforms = [...new Set(order.flatMap((one) => one.platforms))]
    return { name: own.has(name) ? name : `${own.registry}/${name}`, tags, digest, platforms, missing }
  }

  #find(digest: Digest, mediaType: string | undefined, depth: number): Promise<Found | undefined> {
    const before = this.#found.get(digest)
    if (before !== undefined) return before
    if (depth > maxDepth) throw new BadArchive(`the archive has indexes in indexes, more than ${maxDepth} deep`)
    if (this.#found.size >= maxManifests) throw new BadArchive(`the archive has more than ${maxManifests} manifests`)
    const found = this.#read(digest, mediaType, depth)
    this.#found.set(digest, found)
    return found
  }

  async #read(digest: Digest, mediaType: string | undefined, depth: number): Promise<Found | undefined> {
    const file = this.#files.get(digest)
    const made = digest === this.#image.digest ? this.#image.manifest : undefined
    const bytes = made ?? (file && (await this.#files.bytes(file)))
    if (bytes === undefined) return undefined
    const manifest = readPushedManifest(bytes, isManifestMediaType(mediaType) ? mediaType : undefined)
    const missing = manifest.blobs.map((blob) => blob.digest).filter((blob) => !this.#isThere(blob))
    const children: Found[] = []
    const indexed = indexedManifests(bytes) ?? []
    for (const [index, child] of manifest.manifests.entries()) {
      const found = await this.#find(child.digest, indexed[index]?.mediaType, depth + 1)
      if (found !== undefined && isUsable(found)) children.push(found)
      else if (!this.#isHeld(child.digest)) missing.push(child.digest)
    }
    const platforms = children.length === 0 ? await this.#platformOf(bytes) : []
    return { digest, bytes, manifest, children, missing, platforms }
  }

  async #platformOf(manifest: Buffer): Promise<string[]> {
    const config = configOf(manifest)
    const file = config && this.#files.get(config)
    const platform = file && configuredPlatform(await this.#files.bytes(file))
    return platform === undefined ? [] : [platform]
  }

  #isThere(blob: Digest): boolean {
    const { records, store } = this.#options
    if (this.#files.get(blob) !== undefined) return true
    return records.get(this.#image.name)?.blobs.has(blob) === true && store.has(blob)
  }

  /** Whether the repository has a manifest already. */
  #isHeld(manifest: Digest): boolean {
    const { records, store } = this.#options
    return records.get(this.#image.name)?.manifests.has(manifest) === true && store.has(manifest)
  }

  async #put({ bytes, digest, manifest }: Found, tags: readonly string[], signal: AbortSignal): Promise<void> {
    const { own } = this.#options
    const { name } = this.#image
    for (const blob of manifest.blobs) await this.#putBlob(blob.digest)
    const push = { bytes, contentType: manifest.mediaType, digest, tags, isSparse: true }
    await own.putManifest({ name, signal }, push)
  }

  async #putBlob(digest: Digest): Promise<void> {
    const { holdings, own } = this.#options
    const { name } = this.#image
    const file = this.#files.get(digest)
    const blob = { kind: 'blob', name, id: digest, value: true } as const
    await pushing(() =>
      holdings.inTurn(async () => {
        const changes = [...own.newRepository(name), blob]
        // Of the second image that has it, or of one that was here before.
        const isHere = file === undefined || this.#files.isTaken(file)
        if (!isHere) return await holdings.add(digest, () => this.#files.place(file), changes)
        if (!(await holdings.addHeld(digest, changes)))
          throw new BadArchive(`${digest} was deleted meanwhile: import it again`)
      }),
    )
  }
}

/** Whether a manifest can be taken: an image with all of its blobs, or an index with an image at least, or with none at all. */
function isUsable({ manifest, children, missing }: Found): boolean {
  return missing.length === 0 || (manifest.blobs.length === 0 && children.length > 0)
}

/** What is named comes before what names it. */
function collect(found: Found, seen: Set<Digest>, order: Found[]): void {
  if (seen.has(found.digest)) return
  seen.add(found.digest)
  for (const child of found.children) collect(child, seen, order)
  order.push(found)
}
