import type { BlobStore } from './store/blob-store.ts'
import type { Metadata } from './store/metadata.ts'
import type { SharedContent } from './swarm/ports.ts'

interface SharedContentOptions {
  readonly store: BlobStore
  readonly metadata: Pick<Metadata, 'tag'>
  /** Whether only known peers are in the swarm; private content leaves the node in no other. */
  readonly isClosed: boolean
}

/** What of the store peers may have. */
export function sharedContent({ store, metadata, isClosed }: SharedContentOptions): SharedContent {
  return {
    open: async (digest) => {
      const record = store.record(digest)
      if (record === undefined || !(record.public || isClosed)) return undefined
      const blob = await store.openBlob(digest)
      if (blob === undefined) return undefined
      const { size, mediaType } = blob.record
      return {
        size,
        mediaType,
        access: blob.record.public ? 'public' : 'private',
        repositories: blob.record.repositories,
        read: (start, end, signal) => blob.read(start, end, signal),
        close: () => blob.close(),
      }
    },
    tag: async (reference) => {
      const record = await metadata.tag(reference)
      if (record === undefined || !(record.public || isClosed)) return undefined
      return { digest: record.digest, confirmedAt: record.confirmedAt }
    },
  }
}
