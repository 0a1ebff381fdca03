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
  /** Whether strangers may have it, as in `registry.offerPushes`. */
  readonly isOfferedToAll: boolean
}

interface ImportCall {
  readonly signal: AbortSignal
  send(event: ImportEvent): Promise<void>
}

type ImportEvent =
  /** Bytes of the archive that were read. */
  | { readonly event: 'progress'; readonly bytes: number }
  | { readonly event: 'blob'; readonly digest: Digest; readonly bytes: number }
  | ({ readonly event: 'image' } & ImportedImage)

/** What an archive's images are put into. */
export type ImportTarget = Pick<OwnRegistry, 'registry' | 'has' | 'putManifest' | 'newRepository'> & {
  isOfferedToAll(name: string): boolean
}

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

/** Bytes of the manifests of one image. What they name is in memory, and takes a few times as much. */
const maxImageBytes = 64 * 1024 * 1024

/** How often it is told how far an archive is read, in ms. A client gives up a node of which it hears nothing for minutes, as of a large layer. */
const tellInterval = 1_000

/** A manifest of an archive, and what of it is there. */
interface Found {
  readonly digest: Digest
  readonly manifest: PushedManifest
  /** What it names beside manifests. */
  readonly blobs: readonly Digest[]
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
      for await (const entry of readArchive(told(bytes, call))) {
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

/** Bytes that come, while it is told how far that is. */
async function* told(bytes: AsyncIterable<Uint8Array>, { send }: ImportCall): AsyncGenerator<Uint8Array> {
  let read = 0
  let toldAt = performance.now()
  for await (const piece of bytes) {
    read += piece.length
    yield piece
    if (performance.now() - toldAt < tellInterval) continue
    toldAt = performance.now()
    await send({ event: 'progress', bytes: read })
  }
}

/** The import of one image into one repository. */
class ImageImport {
  readonly #options: ImporterOptions
  readonly #files: StagedFiles
  readonly #image: NamedImage
  readonly #found = new Map<Digest, Promise<Found | undefined>>()
  #manifestBytes = 0

  constructor(options: ImporterOptions, files: StagedFiles, image: NamedImage) {
    this.#options = options
    this.#files = files
    this.#image = image
  }

  async run(signal: AbortSignal): Promise<ImportedImage> {
    const { digest, mediaType, name, tags, isChosen } = this.#image
    const root = await this.#find(digest, mediaType, 0)
    if (root === undefined) throw new BadArchive(`the archive names the image ${digest}, which is not in it`)
    if (!isUsable(root)) {
      const more = root.missing.length > 1 ? ` and ${root.missing.length - 1} more` : ''
      throw new BadArchive(`the archive does not have all of ${name} (${digest}): it lacks ${root.missing[0]}${more}`)
    }
    const order: Found[] = []
    collect(root, new Set(), order)
    const { own, holdings, records } = this.#options
    await pushing(() => holdings.inTurn(() => records.change(own.newRepository(name, isChosen))))
    for (const one of order) {
      signal.throwIfAborted()
      await this.#put(one, one === root ? tags : [], signal)
    }
    const missing = order.flatMap((one) => one.missing)
    const platforms = [...new Set(order.flatMap((one) => one.platforms))]
    const shown = own.has(name) ? name : `${own.registry}/${name}`
    return { name: shown, tags, digest, platforms, missing, isOfferedToAll: own.isOfferedToAll(name) }
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
    const bytes = await this.#bytes(digest)
    if (bytes === undefined) return undefined
    this.#manifestBytes += bytes.length
    if (this.#manifestBytes > maxImageBytes)
      throw new BadArchive(`the manifests of ${this.#image.digest} have more than ${maxImageBytes} bytes`)
    const manifest = readPushedManifest(bytes, isManifestMediaType(mediaType) ? mediaType : undefined)
    const blobs = [...manifest.blobs, ...manifest.others].map((blob) => blob.digest)
    const missing = blobs.filter((blob) => !this.#isThere(blob))
    const children: Found[] = []
    const mediaTypes = new Map(indexedManifests(bytes)?.map((one) => [one.digest, one.mediaType]))
    for (const child of manifest.manifests) {
      const found = await this.#find(child.digest, mediaTypes.get(child.digest), depth + 1)
      if (found !== undefined && isUsable(found)) children.push(found)
      else if (!this.#isHeld(child.digest)) missing.push(child.digest)
    }
    const platforms = children.length === 0 ? await this.#platformOf(bytes) : []
    return { digest, manifest, blobs, children, missing, platforms }
  }

  /** Read again where they are needed again: all of an archive would be too much to remember. */
  async #bytes(manifest: Digest): Promise<Uint8Array | undefined> {
    if (manifest === this.#image.digest && this.#image.manifest !== undefined) return this.#image.manifest
    const file = this.#files.get(manifest)
    return file && (await this.#files.bytes(file))
  }

  async #platformOf(manifest: Uint8Array): Promise<string[]> {
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

  async #put({ digest, manifest, blobs }: Found, tags: readonly string[], signal: AbortSignal): Promise<void> {
    const { own } = this.#options
    const { name } = this.#image
    // What an index names and the archive lacks stays away.
    for (const blob of blobs) if (this.#isThere(blob)) await this.#putBlob(blob)
    const bytes = await this.#bytes(digest)
    if (bytes === undefined) throw new BadArchive(`the archive names ${digest}, which is not in it`)
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
