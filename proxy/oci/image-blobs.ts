import { type Digest, isDigest } from './digest.ts'

/** Blobs of one image that are named. Images have 128 layers at most where overlayfs is used, and one configuration. */
export const MAX_IMAGE_BLOBS = 256

/** Manifests with more bytes than this name none: such an image of {@link MAX_IMAGE_BLOBS} blobs has some 100 KiB. */
const MAX_PARSED_BYTES = 1024 * 1024

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

/** The fields of a manifest; none of what is no JSON object, or is too long. */
function parse(manifest: Uint8Array): Record<string, unknown> {
  if (manifest.length > MAX_PARSED_BYTES) return {}
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
