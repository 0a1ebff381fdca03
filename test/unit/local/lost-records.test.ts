import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { Level } from 'level'
import { expect, it, onTestFinished, vi } from 'vitest'
import { Holdings } from '../../../daemon/local/holdings.ts'
import { LocalRecords } from '../../../daemon/local/records.ts'
import { BlobStore } from '../../../daemon/store/blob-store.ts'
import { Metadata } from '../../../daemon/store/metadata.ts'
import { digestOf } from '../../../proxy/oci/digest.ts'
import { tempDir } from '../../fixtures/temp-dir.ts'

const bytes = Buffer.from('some bytes')
const digest = digestOf(bytes)
const repository = { kind: 'repository', name: 'app', id: '', value: { createdAt: 1, isHidden: false } } as const
const blob = { kind: 'blob', name: 'app', id: digest, value: true } as const

async function start(dataDir: string) {
  const metadata = await Metadata.open(join(dataDir, 'meta'), () => {})
  const events = { stored: () => {}, removing: async () => {} }
  const store = await BlobStore.open({ dataDir, metadata, maxBytes: 1_000_000, events })
  const records = await LocalRecords.open(metadata)
  const holdings = new Holdings(store, records)
  let isStopped = false
  const stop = async () => {
    if (isStopped) return
    isStopped = true
    vi.restoreAllMocks()
    await store.close()
    await metadata.close()
  }
  onTestFinished(stop)
  return { metadata, store, records, holdings, stop }
}

async function put(store: BlobStore, kept: boolean): Promise<void> {
  const staging = await store.stage(digest, bytes.length, () => {})
  await staging.blob.write(bytes)
  await staging.commit({ mediaType: undefined, public: false, repository: undefined, ...(kept ? { kept } : {}) })
  await staging.blob.close()
}

/** Lets the next batch fail. @param isLogged whether the database has it all the same */
function failBatch(isLogged: boolean): void {
  let prototype = Level.prototype
  while (!Object.hasOwn(prototype, 'batch')) prototype = Object.getPrototypeOf(prototype)
  const { batch } = prototype
  const fail = async function (this: Level, ...operations: unknown[]) {
    if (isLogged) await Reflect.apply(batch, this, operations)
    throw new Error('ENOSPC')
  }
  vi.spyOn(prototype, 'batch').mockImplementationOnce(fail as never)
}

it('a database that was removed while the node was down takes no blob with it', async () => {
  const dataDir = await tempDir()
  const first = await start(dataDir)
  await first.holdings.add(digest, () => put(first.store, true), [repository, blob])
  await first.stop()
  await rm(join(dataDir, 'meta'), { recursive: true })
  const second = await start(dataDir)
  expect(await second.holdings.reconcile()).toEqual({ blobs: 1, bytes: bytes.length })
  expect(second.store.record(digest)?.kept).toBe(true)
  // Something has a name again, and this has none.
  await second.records.change([repository])
  await second.stop()
  const third = await start(dataDir)
  expect(await third.holdings.reconcile()).toEqual({ blobs: 0, bytes: 0 })
  expect(third.store.has(digest)).toBe(false)
})

it('what has a name is kept, whatever its record says', async () => {
  const { store, records, holdings } = await start(await tempDir())
  await put(store, false)
  await records.change([repository, blob])
  await holdings.reconcile()
  expect(store.record(digest)?.kept).toBe(true)
})

it('names that could not be written into a new database are written later', async () => {
  const dataDir = await tempDir()
  const { metadata, records, stop } = await start(dataDir)
  await records.change([repository, blob])
  await rm(join(dataDir, 'meta'), { recursive: true })
  failBatch(false)
  await expect(metadata.reopen()).rejects.toThrow('ENOSPC')
  await records.change([{ kind: 'tag', name: 'app', id: '1', value: digest }])
  await stop()
  const { records: after } = await start(dataDir)
  expect(after.get('app')).toMatchObject({ blobs: new Set([digest]), tags: new Map([['1', digest]]) })
})

it('a change that failed does not come back with the log of the database', async () => {
  const dataDir = await tempDir()
  const { records, stop } = await start(dataDir)
  await records.change([repository])
  failBatch(true)
  await expect(records.change([blob])).rejects.toThrow('ENOSPC')
  await records.change([{ kind: 'upload', name: 'app', id: 'one', value: true }])
  await stop()
  const { records: after } = await start(dataDir)
  expect([after.get('app')?.blobs.size, after.uploads().size]).toEqual([0, 1])
})

it('a process that was killed while it pinned keeps nothing for nobody, though nothing was ever pushed', async () => {
  const { store, holdings } = await start(await tempDir())
  const staging = await store.stage(digest, bytes.length, () => {})
  await staging.blob.write(bytes)
  await staging.commit({ mediaType: undefined, public: true, repository: 'docker.io/library/app' })
  await staging.blob.close()
  await store.setKept(digest, true)
  expect(await holdings.reconcile()).toEqual({ blobs: 0, bytes: 0 })
  expect(store.record(digest)?.kept).toBe(false)
})
