import { algorithmOf } from '../../proxy/oci/digest.ts'
import { imageBlobs } from '../../proxy/oci/image-blobs.ts'
import type { ContentRequest } from '../../proxy/ports.ts'
import type { Sharing } from '../share/sharing.ts'
import type { BlobStore } from '../store/blob-store.ts'

interface ForesightOptions {
  readonly store: Pick<BlobStore, 'has'>
  readonly sharing: Pick<Sharing, 'foresee'>
  /** Whether peers may have the blobs of an image whose manifest somebody gets. */
  readonly mayPeersHave: (manifest: ContentRequest) => Promise<boolean>
}

/** Whoever gets an image's manifest asks for its blobs next: all of them are looked for in the swarm at once. */
export class Foresight {
  readonly #options: ForesightOptions

  constructor(options: ForesightOptions) {
    this.#options = options
  }

  /** A client gets a manifest, which it may have. Nobody is told of what a fetch would not be told of either. */
  async passes(request: ContentRequest, manifest: Uint8Array): Promise<void> {
    const { store, sharing, mayPeersHave } = this.#options
    if (!(await mayPeersHave(request))) return
    const missing = imageBlobs(manifest).filter((blob) => algorithmOf(blob) === 'sha256' && !store.has(blob))
    if (missing.length > 0) sharing.foresee(missing)
  }
}
