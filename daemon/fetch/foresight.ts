import { algorithmOf, type Digest } from '../../proxy/oci/digest.ts'
import { imageBlobs } from '../../proxy/oci/image-blobs.ts'
import type { ContentRequest } from '../../proxy/ports.ts'
import type { Sharing } from '../share/sharing.ts'
import type { BlobStore } from '../store/blob-store.ts'
import type { Publicity } from './publicity.ts'

interface ForesightOptions {
  readonly store: Pick<BlobStore, 'has' | 'record'>
  readonly sharing: Pick<Sharing, 'foresee'>
  readonly publicity: Pick<Publicity, 'knows'>
  /** Whether only known peers are in the swarm. */
  readonly isClosed: boolean
  /** Whether anybody may have content that is being fetched; undefined where that is not known. */
  readonly isPublic: (digest: Digest) => boolean | undefined
}

/** Whoever gets an image's manifest asks for its blobs next: all of them are looked for in the swarm at once. */
export class Foresight {
  readonly #options: ForesightOptions

  constructor(options: ForesightOptions) {
    this.#options = options
  }

  /** A client gets a manifest, which it may have. Nobody is told of what a fetch would not be told of either. */
  async passes(request: ContentRequest, manifest: Uint8Array): Promise<void> {
    const { store, sharing, publicity, isClosed, isPublic } = this.#options
    const { digest } = request
    if ((await publicity.knows(request)) !== true) return
    // In an open swarm the blobs of a private image are read from upstream by each node for itself.
    if (!isClosed && (store.record(digest)?.public ?? isPublic(digest)) !== true) return
    const missing = imageBlobs(manifest).filter((blob) => algorithmOf(blob) === 'sha256' && !store.has(blob))
    if (missing.length > 0) sharing.foresee(missing)
  }
}
