import type { Digest } from '../../proxy/oci/digest.ts'
import { type PushedManifest, readPushedManifest } from '../../proxy/oci/pushed-manifest.ts'
import type { BlobStore } from '../store/blob-store.ts'
import { readWhole } from '../store/read-whole.ts'
import type { Holdings } from './holdings.ts'
import type { LocalRecords, LocalRepository, RecordChange } from './records.ts'
import { unknown } from './registry.ts'

interface RemoverOptions {
  readonly store: BlobStore
  readonly records: LocalRecords
  readonly holdings: Holdings
}

/** What was taken away. */
export interface Removed {
  /** Manifests and blobs that the repository has no more. */
  readonly digests: readonly Digest[]
}

/** Removes images of local repositories, with all that nothing else in the repository names. */
export class ImageRemover {
  readonly #options: RemoverOptions

  constructor(options: RemoverOptions) {
    this.#options = options
  }

  /**
   * Removes a tag, and its image where no other tag is of it; or an image with all of its tags.
   * @throws {OciError} MANIFEST_UNKNOWN
   */
  async remove(name: string, reference: { readonly tag: string } | Digest): Promise<Removed> {
    const { records, holdings } = this.#options
    return await holdings.inTurn(async () => {
      const repository = records.get(name)
      const digest = typeof reference === 'string' ? reference : repository?.tags.get(reference.tag)
      if (repository === undefined || digest === undefined || !repository.manifests.has(digest)) {
        throw unknown('MANIFEST_UNKNOWN', name, typeof reference === 'string' ? reference : reference.tag)
      }
      const own = [...repository.tags].filter(([, of]) => of === digest).map(([tag]) => tag)
      const tags = typeof reference === 'string' ? own : [reference.tag]
      const untagged = tags.map((id): RecordChange => ({ kind: 'tag', name, id }))
      if (tags.length < own.length) {
        await records.change(untagged)
        return { digests: [] }
      }
      const { manifests, blobs } = await this.#onlyOf(digest, repository)
      const changes: RecordChange[] = [
        ...untagged,
        ...manifests.map((id): RecordChange => ({ kind: 'manifest', name, id })),
        ...blobs.map((id): RecordChange => ({ kind: 'blob', name, id })),
      ]
      await holdings.removeAll([...manifests, ...blobs], changes)
      return { digests: [...manifests, ...blobs] }
    })
  }

  /** The image, what refers to it, and what both name and nothing else does. */
  async #onlyOf(digest: Digest, repository: LocalRepository) {
    const read = new Map<Digest, PushedManifest>()
    for (const [one, { mediaType }] of repository.manifests) {
      const manifest = await this.#read(one, mediaType)
      if (manifest !== undefined) read.set(one, manifest)
    }
    const tagged = new Set(repository.tags.values())
    const removed = new Set([digest])
    const names = (by: Digest, one: Digest) => read.get(by)?.manifests.some((child) => child.digest === one) === true
    const isNamedBy = (one: Digest, isRemoved: boolean) =>
      [...repository.manifests.keys()].some((by) => removed.has(by) === isRemoved && names(by, one))
    for (let before = 0; before < removed.size; ) {
      before = removed.size
      for (const [one, { subject }] of repository.manifests) {
        if (removed.has(one) || tagged.has(one)) continue
        const isReferrer = subject !== undefined && removed.has(subject)
        if (isReferrer || (isNamedBy(one, true) && !isNamedBy(one, false))) removed.add(one)
      }
    }
    const blobsOf = (isRemoved: boolean) =>
      new Set(
        [...read]
          .filter(([one]) => removed.has(one) === isRemoved)
          .flatMap(([, { blobs, others }]) => [...blobs, ...others].map((blob) => blob.digest)),
      )
    const kept = blobsOf(false)
    return {
      manifests: [...removed],
      blobs: [...blobsOf(true)].filter((blob) => repository.blobs.has(blob) && !kept.has(blob)),
    }
  }

  async #read(digest: Digest, mediaType: string): Promise<PushedManifest | undefined> {
    const bytes = await readWhole(this.#options.store, digest)
    return bytes === undefined ? undefined : readPushedManifest(bytes, mediaType)
  }
}
