import { algorithmOf, type Digest, digestOf } from '../../proxy/oci/digest.ts'
import { OciError } from '../../proxy/oci/errors.ts'
import { longManifestBytes, manifestMediaType, manifestTooLong, maxManifestBytes } from '../../proxy/oci/manifest.ts'
import type { Content, ContentOrigin } from '../../proxy/ports.ts'
import type { StoredBlob } from '../store/blob-store.ts'
import { DigestMismatch } from '../verify/mismatch.ts'
import type { LongManifests } from './long-manifests.ts'

/**
 * A blob on disk as content for a client.
 * @param onDamaged told when the disk does not give the blob, before the reader is
 */
export function storedContent(blob: StoredBlob, onDamaged: (error: unknown) => Promise<void>): Content {
  const { size, mediaType } = blob.record
  return {
    size,
    mediaType,
    origin: 'store',
    async *read(start, end, signal) {
      try {
        yield* blob.read(start, end ?? size - 1, signal)
      } catch (error) {
        if (!signal.aborted) await onDamaged(error)
        throw error
      }
    },
    close: () => blob.close(),
  }
}

/** Content whose failures while it is read are told as those of opening it. */
export function explainedContent(content: Content, explain: (error: unknown) => unknown): Content {
  return {
    ...content,
    async *read(start, end, signal) {
      try {
        yield* content.read(start, end, signal)
      } catch (error) {
        throw signal.aborted ? error : explain(error)
      }
    },
  }
}

/**
 * Reads a manifest whole (most are small, and its media type stands in it) and closes where it came from.
 * @param long where there must be room for one that is long; it is given back when the content is closed
 * @param onRead told when a client begins to get it
 * @throws {DigestMismatch} where the disk has changed it
 * @throws {OciError} MANIFEST_UNKNOWN where the content is no manifest, UNAVAILABLE where it is too long for one
 */
export async function manifestContent(
  content: Content,
  digest: Digest,
  signal: AbortSignal,
  long: LongManifests,
  onRead: (manifest: Uint8Array) => void = () => {},
): Promise<Content> {
  let leave = (): void => {}
  try {
    if (content.size === undefined || content.size > longManifestBytes) leave = await long.enter(signal)
    const bytes = await collect(content, signal)
    const actual = digestOf(bytes, algorithmOf(digest))
    if (actual !== digest) throw new DigestMismatch(digest, actual)
    const mediaType = manifestMediaType(bytes, content.mediaType)
    if (mediaType === undefined)
      throw new OciError('MANIFEST_UNKNOWN', 'the content with this digest is not a manifest')
    // Where nobody said how long it is, that is known only now.
    if (bytes.length <= longManifestBytes) leave()
    return bytesContent({ bytes, mediaType, origin: content.origin, onRead: () => onRead(bytes), onClose: leave })
  } catch (error) {
    leave()
    throw error
  } finally {
    await content.close()
  }
}

async function collect(content: Content, signal: AbortSignal): Promise<Buffer> {
  if (content.size !== undefined && content.size > maxManifestBytes) throw manifestTooLong(content.size)
  const pieces: Uint8Array[] = []
  let size = 0
  for await (const chunk of content.read(0, undefined, signal)) {
    size += chunk.length
    if (size > maxManifestBytes) throw manifestTooLong(undefined)
    pieces.push(Uint8Array.from(chunk))
  }
  return Buffer.concat(pieces)
}

interface BytesContentOptions {
  readonly bytes: Buffer
  readonly mediaType: string
  readonly origin: ContentOrigin
  readonly onRead: () => void
  readonly onClose: () => void
}

function bytesContent({ bytes, mediaType, origin, onRead, onClose }: BytesContentOptions): Content {
  let isClosed = false
  return {
    size: bytes.length,
    mediaType,
    origin,
    async *read(start, end) {
      onRead()
      yield bytes.subarray(start, end === undefined ? undefined : end + 1)
    },
    close: async () => {
      if (!isClosed) onClose()
      isClosed = true
    },
  }
}
