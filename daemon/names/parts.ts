import type { Digest } from '../../proxy/oci/digest.ts'
import { OciError } from '../../proxy/oci/errors.ts'
import { readPushedManifest } from '../../proxy/oci/pushed-manifest.ts'
import type { ContentRequest, ContentSource } from '../../proxy/ports.ts'
import { untilStored } from '../store/until-stored.ts'
import { readContent } from './read-content.ts'

/** How deep indexes may lie in each other; the registry keeps no more. */
const maxDepth = 4

interface PartsOptions {
  readonly content: Pick<ContentSource, 'open' | 'held'>
  readonly isStored: (digest: Digest) => boolean
  /** Names what the store has in the repository that is pushed to; what is here for another one has no name in it. */
  readonly keepBlob: (digest: Digest) => Promise<unknown>
  readonly keepManifest: (digest: Digest, bytes: Uint8Array) => Promise<unknown>
}

/** Who pushes a manifest. */
type Pushed = Pick<ContentRequest, 'repository' | 'authorization' | 'isGuest' | 'signal'>

/**
 * Fetches and keeps what a manifest names and a repository lacks: a client that was told what peers have, as whoever pulls is, leaves it out.
 * @throws where something can't be had, or be kept; the signal's reason
 */
export async function fetchParts(
  options: PartsOptions,
  pushed: Pushed,
  manifest: Uint8Array,
  depth = 0,
): Promise<void> {
  const { blobs, manifests } = readPushedManifest(manifest, undefined)
  const of = (kind: ContentRequest['kind'], digest: Digest) => ({ ...pushed, kind, digest, isExact: true }) as const
  for (const { digest } of manifests) {
    if (depth >= maxDepth) break
    const request = of('manifest', digest)
    const child = await readContent(await options.content.open(request), pushed.signal)
    await fetchParts(options, pushed, child, depth + 1)
    await options.keepManifest(digest, child)
  }
  for (const { digest } of blobs) {
    const request = of('blob', digest)
    if ((await options.content.held(request)) !== undefined) continue
    const opened = await options.content.open(request)
    try {
      for await (const _ of opened.read(0, undefined, pushed.signal));
    } finally {
      await opened.close()
    }
    if (!(await untilStored(options.isStored, digest, pushed.signal)))
      throw new OciError('UNAVAILABLE', `${digest} came from a peer and can not be kept`)
    await options.keepBlob(digest)
  }
}
