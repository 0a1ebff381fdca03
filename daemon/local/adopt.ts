import type { Digest } from '../../proxy/oci/digest.ts'
import { type Descriptor, type PushedManifest, readPushedManifest } from '../../proxy/oci/pushed-manifest.ts'
import type { BlobStore } from '../store/blob-store.ts'
import { readWhole } from '../store/read-whole.ts'
import type { Holdings } from './holdings.ts'
import type { LocalRecords, RecordChange } from './records.ts'

/** How deep indexes may lie in each other. */
const maxDepth = 4

interface AdoptionOptions {
  readonly registry: string
  readonly store: BlobStore
  readonly records: LocalRecords
  readonly holdings: Holdings
  readonly newRepository: (name: string) => readonly RecordChange[]
}

/**
 * Makes what a manifest names a repository's own, as far as it was fetched for that repository from peers: clients that push leave out
 * what they are told is there. To be called in turn. Of what it takes over, layers may be missing that nobody has pulled here.
 */
export async function adopt(
  options: AdoptionOptions,
  name: string,
  manifest: PushedManifest,
  depth = 0,
): Promise<void> {
  const { registry, store, records, holdings, newRepository } = options
  const isHere = ({ digest }: Descriptor) => store.record(digest)?.repositories.includes(`${registry}/${name}`) === true
  const add = async (digest: Digest, change: RecordChange) =>
    void (await holdings.addHeld(digest, [...newRepository(name), change]))
  for (const blob of manifest.blobs) {
    const { digest } = blob
    if (records.get(name)?.blobs.has(digest) !== true && isHere(blob))
      await add(digest, { kind: 'blob', name, id: digest, value: true })
  }
  for (const one of manifest.manifests) {
    const { digest } = one
    if (records.get(name)?.manifests.has(digest) === true || !isHere(one)) continue
    const bytes = await readWhole(store, digest)
    if (bytes === undefined) continue
    const child = readPushedManifest(bytes, undefined)
    if (depth < maxDepth) await adopt(options, name, child, depth + 1)
    const { mediaType, subject, artifactType } = child
    const value = { mediaType, size: bytes.length, subject, artifactType }
    await add(digest, { kind: 'manifest', name, id: digest, value })
  }
}
