import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, it, onTestFinished } from 'vitest'
import { StagedFiles } from '../../../daemon/local/staged-files.ts'
import { BlobStore } from '../../../daemon/store/blob-store.ts'
import { Metadata } from '../../../daemon/store/metadata.ts'
import { loadEngine } from '../../../daemon/verify/sha256.ts'
import { digestOf, hexOf } from '../../../proxy/oci/digest.ts'
import { inPieces } from '../../fixtures/archives.ts'
import { pseudoRandomBytes } from '../../fixtures/bytes.ts'
import { tempDir } from '../../fixtures/temp-dir.ts'

const MiB = 2 ** 20
const { signal } = new AbortController()

it('the files of an import that takes long stay until its end; what is cached makes room for them', async () => {
  const clock = { now: Date.now() }
  const dataDir = await tempDir()
  const metadata = await Metadata.open(join(dataDir, 'meta'), () => {})
  const events = { stored: () => {}, removing: async () => {} }
  const store = await BlobStore.open({ dataDir, metadata, maxBytes: 8 * MiB, now: () => clock.now, events })
  const engine = await loadEngine('portable')
  onTestFinished(async () => {
    await engine.close()
    await store.close()
    await metadata.close()
  })
  const cached = pseudoRandomBytes(4 * MiB, 'cached')
  const staging = await store.stage(digestOf(cached), cached.length, () => {})
  await staging.blob.write(cached)
  await staging.blob.finish()
  await staging.commit({ mediaType: undefined, public: true, repository: 'docker.io/library/x' })
  await staging.blob.close()
  const layers = ['first', 'second'].map((seed) => pseudoRandomBytes(3 * MiB, seed))
  const files = new StagedFiles(store, engine)
  for (const bytes of layers) {
    const digest = digestOf(bytes)
    const entry = { name: `blobs/sha256/${hexOf(digest)}`, size: bytes.length, target: undefined }
    await files.take({ ...entry, body: inPieces(bytes, 100_000) }, signal)
    // Longer than a client's upload is kept for nobody.
    clock.now += 660_000
  }
  expect(store.has(digestOf(cached))).toBe(false)
  for (const bytes of layers) {
    const file = files.get(digestOf(bytes))
    if (file !== undefined) await files.place(file)
    expect(store.has(digestOf(bytes))).toBe(true)
  }
  await files.end()
  expect(await readdir(join(dataDir, 'blobs/uploads'))).toEqual([])
})
