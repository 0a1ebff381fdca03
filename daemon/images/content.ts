import type { Digest } from '../../proxy/oci/digest.ts'
import { OciError } from '../../proxy/oci/errors.ts'
import { maxManifestBytes } from '../../proxy/oci/manifest.ts'
import type { Repository } from '../../proxy/oci/name.ts'
import type { ContentKind, ContentSource } from '../../proxy/ports.ts'
import { ControlError } from '../control/operation.ts'
import type { ReadContent } from './tree.ts'

/** Bytes of content as pieces of their own. Whoever asks for an image here says what of it is fetched. */
export async function* contentBytes(
  content: Pick<ContentSource, 'open'>,
  request: {
    readonly kind: ContentKind
    readonly repository: Repository
    readonly digest: Digest
    readonly signal: AbortSignal
  },
): AsyncGenerator<Uint8Array> {
  const opened = await content.open({ ...request, isExact: true })
  try {
    for await (const piece of opened.read(0, undefined, request.signal)) yield piece
  } finally {
    await opened.close()
  }
}

/** Reads manifests and configurations of a repository, from wherever they can be had. */
export function contentReader(
  content: Pick<ContentSource, 'open'>,
  repository: Repository,
  signal: AbortSignal,
): ReadContent {
  return async (kind, digest) => {
    const pieces: Uint8Array[] = []
    let length = 0
    try {
      for await (const piece of contentBytes(content, { kind, repository, digest, signal })) {
        length += piece.length
        if (length > maxManifestBytes) throw new ControlError(`${digest} is too long for what it should be`)
        pieces.push(Uint8Array.from(piece))
      }
    } catch (error) {
      if (isUnknown(error)) return undefined
      throw error
    }
    return Buffer.concat(pieces)
  }
}

/** As {@link contentReader}, of what this node has: nobody is asked. */
export function heldReader(
  content: Pick<ContentSource, 'open' | 'held'>,
  repository: Repository,
  signal: AbortSignal,
): ReadContent {
  const read = contentReader(content, repository, signal)
  return async (kind, digest) => {
    const held = await content.held({ kind, repository, digest, signal, isExact: true })
    return held === undefined ? undefined : await read(kind, digest)
  }
}

/** Whether an error says that somebody asked has not got it, as against that it could not be asked. */
function isUnknown(error: unknown): boolean {
  return error instanceof OciError && error.status === 404
}
