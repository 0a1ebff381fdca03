import { readFile, rename, stat, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { BlobFiles } from '../../../daemon/store/blob-files.ts'
import { BlobStore } from '../../../daemon/store/blob-store.ts'
import { Metadata } from '../../../daemon/store/metadata.ts'
import { scrubOnce } from '../../../daemon/store/scrub.ts'
import { type Digest, digestOf, hexOf } from '../../../proxy/oci/digest.ts'
import { collect, pseudoRandomBytes } from '../../fixtures/bytes.ts'
import { tempDir } from '../../fixtures/temp-dir.ts'

const fetched = { mediaType: undefined, public: true, repository: 'docker.io/library/a' }
const pushed = { mediaType: undefined, public: false, repository: undefined, kept: true }
/** What waits for its turn does nothing that could be waited for. It would be done by then. */
const waitMs = 300
const signal = new AbortController().signal
const blob = pseudoRandomBytes(10_000, 'blob')
const digest = digestOf(blob)

async function setUp(maxBytes = 1_000_000) {
  const dataDir = await tempDir()
  const metadata = await Metadata.open(join(dataDir, 'meta'), () => {})
  const events = { stored: () => {}, removing: async () => {} }
  const store = await BlobStore.open({ dataDir, metadata, maxBytes, events })
  onTestFinished(async () => {
    vi.restoreAllMocks()
    await store.close()
    await metadata.close()
  })
  const path = join(dataDir, 'blobs', 'sha256', hexOf(digest))
  return { store, metadata, path, dataDir }
}

async function put(store: BlobStore, bytes: Uint8Array, facts: typeof fetched | typeof pushed): Promise<Digest> {
  const of = digestOf(bytes)
  const staging = await store.stage(of, bytes.length, () => {})
  await staging.blob.write(bytes)
  await staging.blob.finish()
  await staging.commit(facts)
  await staging.blob.close()
  return of
}

/** Holds the next write of a record back. @returns when it has come, and what lets it go on */
function holdRecord(metadata: Metadata) {
  const come = Promise.withResolvers<void>()
  const gone = Promise.withResolvers<void>()
  const { putBlob } = metadata
  vi.spyOn(metadata, 'putBlob').mockImplementationOnce(async (...record) => {
    come.resolve()
    await gone.promise
    await putBlob.apply(metadata, record)
  })
  return { come: come.promise, release: gone.resolve }
}

async function read(store: BlobStore): Promise<Digest | undefined> {
  const opened = await store.openBlob(digest)
  if (opened === undefined) return undefined
  const bytes = await collect(opened.read(0, opened.record.size - 1, signal))
  await opened.close()
  return digestOf(bytes)
}

describe('a blob that is pushed', () => {
  it('is not evicted for its older copy while it takes its place', async () => {
    const { store, metadata, path } = await setUp(25_000)
    await put(store, blob, fetched)
    const { come, release } = holdRecord(metadata)
    const placed = put(store, blob, pushed)
    await come
    // The older copy is all that could give way.
    const other = put(store, pseudoRandomBytes(14_000, 'other'), fetched)
    await Promise.race([other, delay(waitMs)])
    release()
    await placed
    await other
    expect([await read(store), await readFile(path)]).toEqual([digest, blob])
  })

  it.each(['first', 'last'])('stays kept where a fetch of it ends at the same time, the push %s', async (order) => {
    const { store, metadata, path } = await setUp()
    const facts = order === 'first' ? [pushed, fetched] : [fetched, pushed]
    const { come, release } = holdRecord(metadata)
    const one = put(store, blob, facts[0] ?? pushed)
    await come
    const two = put(store, blob, facts[1] ?? pushed)
    const told = store.addFacts(digest, { ...fetched, repository: 'docker.io/library/b' })
    await Promise.race([two, delay(waitMs)])
    release()
    await Promise.all([one, two, told])
    expect(store.record(digest)).toMatchObject({
      kept: true,
      repositories: expect.arrayContaining([fetched.repository]),
    })
    expect((await stat(path)).mode & 0o777).toBe(0o444)
    for await (const [, record] of metadata.blobs()) expect(record.kept).toBe(true)
  })

  it('is not taken for the damaged file that it replaces', async () => {
    const { store, path } = await setUp()
    await put(store, blob, pushed)
    await rename(path, `${path}.old`)
    await writeFile(path, Buffer.alloc(blob.length))
    const opened = await store.openUntouched(digest)
    if (opened === undefined) throw new Error('not held')
    const damaged: Digest[] = []
    const slow = { ...opened, read: vi.fn(opened.read) }
    slow.read.mockImplementation(async function* (...range) {
      yield* opened.read(...range)
      // Its client pushes it again before the end of the check.
      await put(store, blob, pushed)
    })
    const openUntouched = async () => slow
    const scrubbed = { digests: () => [digest], openUntouched, drop: store.drop.bind(store) }
    await scrubOnce({ store: scrubbed, rate: 1e9, onDamaged: (one) => damaged.push(one) }, signal)
    expect(await read(store)).toBe(digest)
  })

  it('is not taken for a file that was lost before it', async () => {
    const { store, path } = await setUp()
    await put(store, blob, pushed)
    await rename(path, `${path}.old`)
    const { open } = BlobFiles.prototype
    vi.spyOn(BlobFiles.prototype, 'open').mockImplementationOnce(async function (this: BlobFiles, ...args) {
      const file = await open.apply(this, args)
      await put(store, blob, pushed)
      return file
    })
    expect(await read(store)).toBe(digest)
  })

  it('stays where it can not be read, and what can be fetched again goes', async () => {
    const { store } = await setUp()
    await put(store, blob, pushed)
    const cached = await put(store, pseudoRandomBytes(1_000, 'cached'), fetched)
    const openUntouched = async (one: Digest) => {
      const opened = await store.openUntouched(one)
      const read = async function* () {
        yield* []
        throw Object.assign(new Error('EIO: i/o error, read'), { code: 'EIO' })
      }
      return opened && { ...opened, read }
    }
    const scrubbed = { digests: () => store.digests(), openUntouched, drop: store.drop.bind(store) }
    const told: [string, Digest][] = []
    const onDamaged = (one: Digest) => void told.push(['damaged', one])
    const onUnreadable = (one: Digest) => void told.push(['unreadable', one])
    await scrubOnce({ store: scrubbed, rate: 1e9, onDamaged, onUnreadable }, signal)
    expect(told).toEqual([
      ['damaged', cached],
      ['unreadable', digest],
    ])
    expect(store.digests()).toEqual([digest])
    expect(await read(store)).toBe(digest)
  })

  it('stays where it can not be opened', async () => {
    const { store, path } = await setUp()
    await put(store, blob, pushed)
    await rename(path, `${path}.old`)
    // A link to itself can't be followed: ELOOP, not ENOENT.
    await symlink(path, path)
    await expect(store.openBlob(digest)).rejects.toMatchObject({ code: 'io' })
    await rename(`${path}.old`, path)
    expect(await read(store)).toBe(digest)
  })
})

describe('keeping', () => {
  it('that can not be written leaves the blob as it was', async () => {
    const { store, metadata, path } = await setUp()
    await put(store, blob, fetched)
    vi.spyOn(metadata, 'putBlob').mockRejectedValueOnce(new Error('ENOSPC'))
    await expect(store.setKept(digest, true)).rejects.toThrow('ENOSPC')
    expect(store.usage.keptBytes).toBe(0)
    expect((await stat(path)).mode & 0o777).toBe(0o644)
  })

  it('ends also where that can not be written', async () => {
    const { store, metadata } = await setUp()
    await put(store, blob, pushed)
    vi.spyOn(metadata, 'putBlob').mockRejectedValue(new Error('ENOSPC'))
    expect(await store.setKept(digest, false)).toBe(true)
    expect(store.usage.keptBytes).toBe(0)
  })
})
