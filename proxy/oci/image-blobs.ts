import { type Digest, isDigest } from './digest.ts'
import { maxManifestBytes } from './manifest.ts'

/** Blobs of one image that are named. Images have 128 layers at most where overlayfs is used, and one configuration. */
export const MAX_IMAGE_BLOBS = 256

/** Manifests with more bytes than this name none: such an image of {@link MAX_IMAGE_BLOBS} blobs has some 100 KiB. */
const MAX_PARSED_BYTES = 1024 * 1024

/** Descriptors of one kind that are read of a manifest. Models as artifacts have hundreds of files. */
const MAX_NAMED = 4_096

/**
 * The blobs that whoever pulls an image asks for next: its configuration and its layers (image-spec 1.1, "Image Manifest"; Docker's
 * schema 2 says the same). An index names none: its reader picks one of its manifests. Layers that are to be had elsewhere (`urls`)
 * are left out.
 * @param manifest its bytes; any bytes may be given
 * @returns in the manifest's order, each once, {@link MAX_IMAGE_BLOBS} at most
 */
export function imageBlobs(manifest: Uint8Array): readonly Digest[] {
  const { config, layers } = parse(manifest)
  const blobs = new Set<Digest>()
  for (const descriptor of [config, ...listOf(layers)]) {
    if (blobs.size >= MAX_IMAGE_BLOBS) break
    const { digest, urls } = fieldsOf(descriptor)
    if (typeof digest === 'string' && isDigest(digest) && urls === undefined) blobs.add(digest)
  }
  return [...blobs]
}

/**
 * How many bytes the blobs have that a manifest names, and the manifests that an index names, as it says (image-spec 1.1,
 * "Descriptor").
 * @param manifest its bytes; any bytes may be given
 * @returns the first {@link MAX_IMAGE_BLOBS} of them
 */
export function describedSizes(manifest: Uint8Array): ReadonlyMap<Digest, number> {
  const { config, layers, manifests } = parse(manifest)
  const sizes = new Map<Digest, number>()
  for (const descriptor of [config, ...listOf(layers), ...listOf(manifests)]) {
    if (sizes.size >= MAX_IMAGE_BLOBS) break
    const { digest, size } = fieldsOf(descriptor)
    if (typeof digest !== 'string' || !isDigest(digest)) continue
    if (typeof size === 'number' && Number.isSafeInteger(size) && size >= 0) sizes.set(digest, size)
  }
  return sizes
}

/** Content that is named in a manifest, with its bytes. */
export interface NamedContent {
  readonly digest: Digest
  readonly size: number
}

/** What a manifest names, each in its order and once. */
export interface ManifestContents {
  /** The configuration of an image; of an artifact mostly an empty one. */
  readonly config: readonly NamedContent[]
  /** The layers of an image, or the files of an artifact (`blobs` in the manifests of ORAS). */
  readonly layers: readonly NamedContent[]
  /** The manifests of an index. */
  readonly manifests: readonly NamedContent[]
}

/**
 * All that is had from a registry of what a manifest names (image-spec 1.1). Content that is to be had elsewhere (`urls`), and what has
 * no right digest or size, is left out.
 * @param manifest its bytes; any bytes may be given
 * @returns {@link MAX_NAMED} of each kind at most
 */
export function manifestContents(manifest: Uint8Array): ManifestContents {
  const { config, layers, blobs, manifests } = parse(manifest, maxManifestBytes)
  return {
    config: named([config]),
    layers: named([...listOf(layers), ...listOf(blobs)]),
    manifests: named(listOf(manifests)),
  }
}

function named(descriptors: readonly unknown[]): readonly NamedContent[] {
  const found = new Map<Digest, NamedContent>()
  for (const descriptor of descriptors) {
    if (found.size >= MAX_NAMED) break
    const { digest, size, urls } = fieldsOf(descriptor)
    if (typeof digest !== 'string' || !isDigest(digest) || urls !== undefined) continue
    if (typeof size === 'number' && Number.isSafeInteger(size) && size >= 0) found.set(digest, { digest, size })
  }
  return [...found.values()]
}

/** The fields of a manifest; none of what is no JSON object, or is too long. */
function parse(manifest: Uint8Array, maxBytes = MAX_PARSED_BYTES): Record<string, unknown> {
  if (manifest.length > maxBytes) return {}
  try {
    return fieldsOf(JSON.parse(Buffer.from(manifest.buffer, manifest.byteOffset, manifest.byteLength).toString('utf8')))
  } catch {
    return {}
  }
}

function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : []
}

function fieldsOf(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {}
}
