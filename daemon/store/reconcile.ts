import type { Digest } from '../../proxy/oci/digest.ts'
import { parseMediaType } from '../../proxy/oci/media-type.ts'
import type { BlobFiles } from './blob-files.ts'
import type { BlobIndex } from './blob-index.ts'
import type { BlobRecord, Metadata } from './metadata.ts'

/** What the records and files of an earlier process do not agree on; it is to be written when there is room on the disk. */
interface Differences {
  /** Records without a file. */
  readonly lost: readonly Digest[]
  /** Files without a record. */
  readonly adopted: ReadonlyMap<Digest, BlobRecord>
}

/** Fills the index from records and files at start. Writes nothing: the disk may be full. */
export async function readStore(files: BlobFiles, metadata: Metadata, index: BlobIndex): Promise<Differences> {
  const found = await files.list()
  const lost: Digest[] = []
  const adopted = new Map<Digest, BlobRecord>()
  const records: [Digest, BlobRecord][] = []
  for await (const [digest, record] of metadata.blobs()) {
    if (found.delete(digest)) records.push([digest, repaired(record)])
    else lost.push(digest)
  }
  records.sort(([, a], [, b]) => a.lastAccess - b.lastAccess)
  for (const [digest, record] of records) index.add(digest, record)
  // A file without a record: the process died between rename and record. The bytes are right, who may have them is not known.
  for (const digest of found) {
    const { size, modifiedAt, kept } = await files.stat(digest)
    const record = { size, public: false, repositories: [], kept, createdAt: modifiedAt, lastAccess: modifiedAt }
    adopted.set(digest, record)
    index.add(digest, record)
  }
  return { lost, adopted }
}

/** Earlier versions kept whatever a peer called a media type, and could serve nothing under it. */
function repaired(record: BlobRecord): BlobRecord {
  const mediaType = parseMediaType(record.mediaType)
  return mediaType === record.mediaType ? record : { ...record, mediaType }
}

/** Writes what `readStore` found. What can't be written is found again at the next start. */
export async function writeDifferences(metadata: Metadata, index: BlobIndex, differences: Differences): Promise<void> {
  for (const digest of differences.lost) await metadata.deleteBlob(digest).catch(() => {})
  for (const [digest, record] of differences.adopted) {
    // It may have been evicted meanwhile.
    if (index.get(digest) !== undefined) await metadata.putBlob(digest, record).catch(() => {})
  }
}
