import type { Digest } from '../../proxy/oci/digest.ts'
import { manifestContents, type NamedContent } from '../../proxy/oci/image-blobs.ts'
import { maxManifestBytes } from '../../proxy/oci/manifest.ts'
import type { BlobStore } from '../store/blob-store.ts'

/** What this node holds of an image, of an artifact, or of an index of images. */
export interface Holding {
  readonly digest: Digest
  /**
   * Whether all of it is here. Of an index: whether it is so of each image of which the manifest is here, and there is one. Nobody
   * fetches all platforms.
   */
  readonly isComplete: boolean
  /** Bytes that it names: of an image its configuration and layers, of an index those of {@link Holding.images}. */
  readonly bytes: number
  /** What of that is not here. */
  readonly missing: readonly NamedContent[]
  /** The images of an index of which the manifest is here; empty for an image. */
  readonly images: readonly Holding[]
}

/** Indexes within indexes are followed to this depth. */
const MAX_DEPTH = 3

/**
 * What is held of an image; nobody is asked, and it does not count as a use.
 * @param digest of a manifest
 * @returns undefined where the manifest is not here, or the content is none
 */
export async function holdingOf(
  store: Pick<BlobStore, 'has' | 'openUntouched'>,
  digest: Digest,
  signal: AbortSignal,
  depth = 0,
): Promise<Holding | undefined> {
  const bytes = await readManifest(store, digest, signal)
  if (bytes === undefined) return undefined
  const { config, layers, manifests } = manifestContents(bytes)
  if (manifests.length === 0) {
    const parts = new Map([...config, ...layers].map((part) => [part.digest, part]))
    if (parts.size === 0) return undefined
    const missing = [...parts.values()].filter((part) => !store.has(part.digest))
    return { digest, isComplete: missing.length === 0, bytes: sum([...parts.values()]), missing, images: [] }
  }
  const images: Holding[] = []
  for (const { digest: image } of depth < MAX_DEPTH ? manifests : []) {
    const holding = store.has(image) ? await holdingOf(store, image, signal, depth + 1) : undefined
    if (holding !== undefined) images.push(holding)
  }
  const missing = new Map(images.flatMap((image) => image.missing).map((part) => [part.digest, part]))
  return {
    digest,
    isComplete: images.length > 0 && images.every((image) => image.isComplete),
    bytes: images.reduce((total, image) => total + image.bytes, 0),
    missing: [...missing.values()],
    images,
  }
}

function sum(parts: readonly NamedContent[]): number {
  return parts.reduce((total, { size }) => total + size, 0)
}

async function readManifest(
  store: Pick<BlobStore, 'openUntouched'>,
  digest: Digest,
  signal: AbortSignal,
): Promise<Uint8Array | undefined> {
  const blob = await store.openUntouched(digest)
  if (blob === undefined) return undefined
  try {
    const { size } = blob.record
    if (size === 0 || size > maxManifestBytes) return undefined
    const pieces: Uint8Array[] = []
    for await (const piece of blob.read(0, size - 1, signal)) pieces.push(Uint8Array.from(piece))
    return Buffer.concat(pieces)
  } finally {
    await blob.close()
  }
}
