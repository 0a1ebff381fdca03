import { OciError } from '../../proxy/oci/errors.ts'
import { manifestMediaType, maxManifestBytes } from '../../proxy/oci/manifest.ts'
import type { Content, ContentOrigin } from '../../proxy/ports.ts'
import type { StoredBlob } from '../store/blob-store.ts'

/** A blob on disk as content for a client. */
export function storedContent(blob: StoredBlob): Content {
  return {
    size: blob.record.size,
    mediaType: blob.record.mediaType,
    origin: 'store',
    read: (start, end, signal) => blob.read(start, end ?? blob.record.size - 1, signal),
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

/** Reads a manifest whole (it is small, and its media type stands in it) and closes where it came from. */
export async function manifestContent(content: Content, signal: AbortSignal): Promise<Content> {
  try {
    const bytes = await collect(content, signal)
    const mediaType = manifestMediaType(bytes, content.mediaType)
    if (mediaType === undefined)
      throw new OciError('MANIFEST_UNKNOWN', 'the content with this digest is not a manifest')
    return bytesContent(bytes, mediaType, content.origin)
  } finally {
    await content.close()
  }
}

async function collect(content: Content, signal: AbortSignal): Promise<Buffer> {
  const tooLarge = () =>
    new OciError('MANIFEST_UNKNOWN', `a manifest may have ${maxManifestBytes} bytes; this has more`)
  if (content.size !== undefined && content.size > maxManifestBytes) throw tooLarge()
  const pieces: Uint8Array[] = []
  let size = 0
  for await (const chunk of content.read(0, undefined, signal)) {
    size += chunk.length
    if (size > maxManifestBytes) throw tooLarge()
    pieces.push(Uint8Array.from(chunk))
  }
  return Buffer.concat(pieces)
}

function bytesContent(bytes: Buffer, mediaType: string, origin: ContentOrigin): Content {
  return {
    size: bytes.length,
    mediaType,
    origin,
    async *read(start, end) {
      yield bytes.subarray(start, end === undefined ? undefined : end + 1)
    },
    close: async () => {},
  }
}
