import type { Digest } from '../../proxy/oci/digest.ts'
import type { ContentRequest } from '../../proxy/ports.ts'
import type { BlobStore } from '../store/blob-store.ts'
import type { Publicity } from './publicity.ts'

interface Tools {
  readonly store: Pick<BlobStore, 'record'>
  readonly publicity: Pick<Publicity, 'knows'>
  /** Whether only known peers are in the swarm. */
  readonly isClosed: boolean
  /** Whether anybody may have content that is being fetched; undefined where that is not known. */
  readonly isPublic: (digest: Digest) => boolean | undefined
}

/** Whether peers may have the blobs of an image, as far as is known. @param manifest the request for its manifest */
export async function mayPeersHave(
  { store, publicity, isClosed, isPublic }: Tools,
  manifest: Pick<ContentRequest, 'repository' | 'digest'>,
): Promise<boolean> {
  if ((await publicity.knows(manifest)) !== true) return false
  // In an open swarm the blobs of a private image are read from upstream by each node for itself.
  return isClosed || (store.record(manifest.digest)?.public ?? isPublic(manifest.digest)) === true
}
