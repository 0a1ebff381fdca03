import type { Digest } from '../proxy/oci/digest.ts'
import type { KeptCheckpoints } from './kept-checkpoints.ts'
import type { Rules } from './rules.ts'
import { signTag } from './share/signed-tag.ts'
import type { SharedStore } from './share/stored.ts'
import type { ToldToPeers } from './sharing.ts'
import type { Signer } from './signature.ts'
import type { BlobStore } from './store/blob-store.ts'
import type { BlobRecord, Metadata, TagRecord } from './store/metadata.ts'
import type { BlobFacts, SharedBlob, SharedContent, TagConfirmation } from './swarm/ports.ts'

/** Blobs that are being fetched. */
interface Arriving {
  /** What is held of one; undefined where it is not being fetched, not to be shared, or nothing is known of it yet. */
  share(digest: Digest): SharedBlob | undefined
}

interface SharedContentOptions {
  readonly store: BlobStore
  readonly metadata: Pick<Metadata, 'tag'>
  readonly checkpoints: KeptCheckpoints
  /** What is being fetched; undefined until the fetcher is there. */
  readonly downloads: () => Arriving | undefined
  /** Whether only known peers are in the swarm; private content leaves the node in no other. */
  readonly isClosed: boolean
  /** What of a blob on disk peers may know. */
  readonly told: ToldToPeers
  readonly rules: Pick<Rules, 'sharesAll' | 'mayShare' | 'toStrangers'>
  /** Signs what upstream has told this node. */
  readonly signer: Signer
}

/** What of the store, and of the fetches under way, peers may have. */
export function sharedContent(options: SharedContentOptions): SharedContent & SharedStore {
  const { store, metadata, checkpoints, downloads, isClosed, told, rules, signer } = options
  /** One that is on disk for repositories that are never shared only may be on its way for another one. */
  const isOnlyHidden = (record: BlobRecord, digest: Digest) =>
    !rules.sharesAll && told(record, digest) === undefined && !record.repositories.some((one) => rules.mayShare(one))
  return {
    open: async (digest) => {
      const record = store.record(digest)
      if (record === undefined || isOnlyHidden(record, digest)) return downloads()?.share(digest)
      const shown = told(record, digest)
      const blob = shown && (await store.openBlob(digest))
      if (shown === undefined || blob === undefined) return undefined
      return {
        ...factsOf(shown),
        has: async () => true,
        read: (start, end, signal) => blob.read(start, end, signal),
        close: () => blob.close(),
      }
    },
    list: async (digest) => {
      const record = store.record(digest)
      if (record === undefined || isOnlyHidden(record, digest) || told(record, digest) === undefined) return undefined
      return await checkpoints.of(digest)
    },
    tag: async (reference) => {
      const repository = repositoryOf(reference)
      if (isClosed ? !rules.mayShare(repository) : rules.toStrangers(repository) === 'nothing') return undefined
      const record = await metadata.tag(reference)
      if (record === undefined || !(record.public || isClosed)) return undefined
      return confirmationOf(reference, record, signer)
    },
  }
}

/** What another node has signed is passed on as it is. */
function confirmationOf(reference: string, record: TagRecord, signer: Signer): TagConfirmation {
  const { digest, mediaType, confirmedAt, heard } = record
  if (heard === undefined) return { ...signTag(signer, reference, { digest, mediaType, at: confirmedAt }), confirmedAt }
  return { digest, mediaType, confirmedAt, ...heard, signature: Buffer.from(heard.signature, 'base64') }
}

/** Of `registry/repository:tag`. */
function repositoryOf(reference: string): string {
  return reference.slice(0, reference.lastIndexOf(':'))
}

function factsOf({ size, mediaType, public: isPublic, repositories }: BlobRecord): BlobFacts {
  return { size, mediaType, access: isPublic ? 'public' : 'private', repositories }
}
