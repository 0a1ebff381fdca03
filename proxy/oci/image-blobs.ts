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
  if (manifest.length > MAX_PARSED_BYTES) return []
  let parsed: unknown
  try {
    parsed = JSON.parse(Buffer.from(manifest.buffer, manifest.byteOffset, manifest.byteLength).toString('utf8'))
  } catch {
    return []
  }
  const { config, layers } = fieldsOf(parsed)
  const blobs = new Set<Digest>()
  for (const descriptor of [config, ...(Array.isArray(layers) ? layers : [])]) {
    if (blobs.size >= MAX_IMAGE_BLOBS) break
    const { digest, urls } = fieldsOf(descriptor)
    if (typeof digest === 'string' && isDigest(digest) && urls === undefined) blobs.add(digest)
  }
  return [...blobs]
}

function fieldsOf(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {}
}
