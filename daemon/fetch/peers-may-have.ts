import type { Digest } from '../../proxy/oci/digest.ts'
import type { ContentRequest } from '../../proxy/ports.ts'
import type { BlobStore } from '../store/blob-store.ts'

interface Tools {
  readonly store: Pick<BlobStore, 'record'>
  /** Whether peers may hear of the image; undefined where that is not known. */
  readonly mayTell: () => Promise<boolean | undefined>
  /** Whether only known peers are in the swarm. */
  readonly isClosed: boolean
  /** Whether anybody may have content that is being fetched; undefined where that is not known. */
  readonly isPublic: (digest: Digest) => boolean | undefined
}

/** Whether peers may have the blobs of an image, as far as is known. @param manifest the request for its manifest */
export async function mayPeersHave(
  { store, mayTell, isClosed, isPublic }: Tools,
  { digest }: Pick<ContentRequest, 'digest'>,
): Promise<boolean> {
  if ((await mayTell()) !== true) return false
  // In an open swarm the blobs of a private image are read from upstream by each node for itself.
  return isClosed || (store.record(digest)?.public ?? isPublic(digest)) === true
}
