import type { Digest } from '../../proxy/oci/digest.ts'
import { isManifestMediaType } from '../../proxy/oci/manifest.ts'
import type { LocalRecords, ManifestRecord } from '../local/records.ts'
import type { BlobStore } from '../store/blob-store.ts'
import type { Metadata } from '../store/metadata.ts'
import { readWhole } from '../store/read-whole.ts'
import { blobsOf, type ImageNode, manifestsOf, readImage } from './tree.ts'

/** An image that is here, wholly or in part. */
export interface ListedImage {
  /** The whole name, such as `docker.io/library/alpine:3.20`; with a digest where no tag is known of it. */
  readonly name: string
  readonly digest: Digest
  /** Where it came from: it was pushed to this node (or imported), or a registry has it. */
  readonly origin: 'pushed' | 'registry'
  /** Of which all is here. */
  readonly platforms: readonly string[]
  /** Of which a part is here. */
  readonly incomplete: readonly {
    readonly platform: string
    readonly missingBlobs: number
    readonly missingBytes: number
  }[]
  /** Whether at least one platform is whole, and none in part. */
  readonly isComplete: boolean
  /** Bytes that are here; images share some of them. */
  readonly bytes: number
  /** When its manifest came here, in ms since the epoch. */
  readonly createdAt: number
  /** When its registry last said that this is the tag, in ms since the epoch. */
  readonly confirmedAt?: number | undefined
  readonly isPinned: boolean
}

interface ListOptions {
  readonly store: Pick<BlobStore, 'has' | 'record' | 'digests' | 'openUntouched'>
  readonly metadata: Pick<Metadata, 'tags'>
  readonly records: Pick<LocalRecords, 'names' | 'get' | 'isPinned'>
  /** Of this node itself. */
  readonly registry: string
}

/** A manifest by a name that is known of it. */
export interface ImageRoot {
  /** `registry/repository`. */
  readonly repository: string
  readonly tag: string | undefined
  readonly digest: Digest
  readonly origin: ListedImage['origin']
  readonly confirmedAt?: number | undefined
}

/** What this node has, as images. */
export class ImageList {
  readonly #options: ListOptions

  constructor(options: ListOptions) {
    this.#options = options
  }

  /** All images of which the manifest is here, by name. */
  async images(): Promise<ListedImage[]> {
    const seen = new Set<Digest>()
    const listed: ListedImage[] = []
    for (const root of await this.tagged()) {
      const image = await this.#read(root.digest)
      if (image === undefined) continue
      for (const node of manifestsOf(image)) seen.add(node.digest)
      listed.push(this.#describe(root, image))
    }
    const unnamed: ListedImage[] = []
    for (const root of this.#unnamed(seen)) {
      const image = await this.#read(root.digest)
      if (image === undefined) continue
      unnamed.push(this.#describe(root, image))
      for (const node of manifestsOf(image)) if (node !== image) seen.add(node.digest)
    }
    listed.push(...unnamed.filter(({ digest }) => !seen.has(digest)))
    return listed.sort((a, b) => (a.name < b.name ? -1 : 1))
  }

  /** All tags that are known, of what was pushed and of other registries; their manifests need not be here. */
  async tagged(): Promise<ImageRoot[]> {
    const { records, metadata, registry } = this.#options
    const roots: ImageRoot[] = []
    for (const name of records.names()) {
      for (const [tag, digest] of records.get(name)?.tags ?? []) {
        roots.push({ repository: `${registry}/${name}`, tag, digest, origin: 'pushed' })
      }
    }
    for await (const [reference, { digest, confirmedAt }] of metadata.tags()) {
      const colon = reference.lastIndexOf(':')
      // Others have an identity behind them, and are said twice.
      if (reference.includes(' ')) continue
      const [repository, tag] = [reference.slice(0, colon), reference.slice(colon + 1)]
      roots.push({ repository, tag, digest, origin: 'registry', confirmedAt })
    }
    return roots
  }

  /** Manifests without a tag: that were asked for by digest, or pushed, and lost their tag to another one. */
  #unnamed(seen: ReadonlySet<Digest>): ImageRoot[] {
    const { store, records, registry } = this.#options
    const pushed = records.names().flatMap((name) => {
      const { manifests } = records.get(name) ?? { manifests: new Map<Digest, ManifestRecord>() }
      // A signature is no image: it is of one.
      const images = [...manifests].filter(([, { subject }]) => subject === undefined || !manifests.has(subject))
      return images.map(([digest]): ImageRoot => {
        return { repository: `${registry}/${name}`, tag: undefined, digest, origin: 'pushed' }
      })
    })
    const fetched = store.digests().flatMap((digest): ImageRoot[] => {
      const record = store.record(digest)
      const repository = record?.repositories.at(-1)
      if (repository === undefined || !isManifestMediaType(record?.mediaType)) return []
      return [{ repository, tag: undefined, digest, origin: 'registry' }]
    })
    return [...pushed, ...fetched].filter(({ digest }) => !seen.has(digest))
  }

  #describe({ repository, tag, digest, origin, confirmedAt }: ImageRoot, image: ImageNode): ListedImage {
    const { store, records } = this.#options
    const manifests = manifestsOf(image)
    const platforms: string[] = []
    const incomplete: { platform: string; missingBlobs: number; missingBytes: number }[] = []
    const images = manifests.filter(({ blobs }) => blobs.length > 0)
    for (const { platform, blobs } of images) {
      // An index has attestations, which are of no platform, beside its images.
      if (platform === undefined && images.length > 1) continue
      const own = [...new Map(blobs.map((blob) => [blob.digest, blob])).values()]
      const missing = own.filter((blob) => !store.has(blob.digest))
      const name = platform ?? 'any'
      if (missing.length === 0) platforms.push(name)
      else if (missing.length < own.length || images.length === 1) {
        const missingBytes = missing.reduce((sum, { size }) => sum + size, 0)
        incomplete.push({ platform: name, missingBlobs: missing.length, missingBytes })
      }
    }
    const held = [...manifests, ...blobsOf(manifests)].map((one) => store.record(one.digest)?.size ?? 0)
    return {
      name: tag === undefined ? `${repository}@${digest}` : `${repository}:${tag}`,
      digest,
      origin,
      platforms,
      incomplete,
      isComplete: platforms.length > 0 && incomplete.length === 0,
      bytes: held.reduce((sum, size) => sum + size, 0),
      createdAt: store.record(digest)?.createdAt ?? 0,
      confirmedAt,
      isPinned: origin === 'pushed' || records.isPinned(digest),
    }
  }

  async #read(digest: Digest): Promise<ImageNode | undefined> {
    const { store } = this.#options
    // What can't be read as an image is none.
    return await readImage(digest, (_, at) => readWhole(store, at)).catch(() => undefined)
  }
}
