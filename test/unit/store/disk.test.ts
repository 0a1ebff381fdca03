import { copyFile, mkdir, readdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { BlobStore } from '../../../daemon/store/blob-store.ts'
import { Disk, type DiskSpace, reserveOf } from '../../../daemon/store/disk.ts'
import { Metadata } from '../../../daemon/store/metadata.ts'
import { quarterBytes } from '../../../daemon/verify/quarter.ts'
import { type Digest, digestOf, hexOf } from '../../../proxy/oci/digest.ts'
import { pseudoRandomBytes } from '../../fixtures/bytes.ts'
import { tempDir } from '../../fixtures/temp-dir.ts'

const [MiB, GiB] = [2 ** 20, 2 ** 30]
const facts = { mediaType: undefined, public: true, repository: 'docker.io/library/a' }
const digestNamed = (name: string) => digestOf(Buffer.from(name))

describe('the reserve', () => {
  it.each([
    [{ share: 0.05 }, 100 * GiB, 5 * GiB],
    // Of a large disk.
    [{ share: 0.05 }, 1000 * GiB, 10 * GiB],
    [{ bytes: 20 * GiB }, 1000 * GiB, 20 * GiB],
    // What the databases need, in any case.
    [{ bytes: 0 }, 100 * GiB, 16 * MiB],
    [{ share: 0 }, 80 * MiB, 4 * MiB],
    [{ bytes: 100 }, 80 * MiB, 4 * MiB],
  ])('of %o on a disk of %i bytes is %i', (minFree, total, reserve) => {
    expect(reserveOf(minFree, total)).toBe(reserve)
  })

  it('is measured at most once a second, and carried on between', async () => {
    let now = 0
    let measured = 0
    const measure = async () => {
      measured++
      return { totalBytes: 100 * GiB, freeBytes: 6 * GiB }
    }
    const disk = new Disk({ minFree: { share: 0.05 }, measure, clock: () => now })
    for (; now < 999; now += 111) await disk.refresh(() => 0)
    disk.take(GiB - 100)
    expect([measured, disk.availableBytes]).toEqual([1, 100])
    disk.give(50)
    expect(disk.availableBytes).toBe(150)
    now = 1_000
    await disk.refresh(() => GiB)
    expect([measured, disk.availableBytes]).toEqual([2, 0])
  })

  it('is none where the file system does not say how large it is', async () => {
    for (const measure of [
      () => Promise.resolve({ totalBytes: 0, freeBytes: 0 }),
      () => Promise.reject(new Error('ENOSYS')),
    ]) {
      const disk = new Disk({ minFree: { bytes: GiB }, measure })
      await disk.refresh(() => 0)
      expect([disk.freeBytes, disk.reserveBytes, disk.availableBytes]).toEqual([undefined, 0, Number.POSITIVE_INFINITY])
    }
  })
})

/** A store on a disk of 10 GiB, of which 1 GiB is to stay free; `left` is what is free beyond that. */
async function openStore(left: number) {
  const dataDir = await tempDir()
  const disk = { left }
  const removed: Digest[] = []
  const measureDisk = async (): Promise<DiskSpace> => ({ totalBytes: 10 * GiB, freeBytes: GiB + disk.left })
  const metadata = await Metadata.open(join(dataDir, 'meta'), () => {})
  const lost: (string | undefined)[] = []
  const stuck: string[] = []
  const store = await BlobStore.open({
    dataDir,
    metadata,
    maxBytes: GiB,
    minFree: { bytes: GiB },
    measureDisk,
    onFoldersLost: (_, problem) => void lost.push(problem),
    onStuck: ({ message }) => void stuck.push(message),
    events: { stored: () => {}, removing: async (digest) => void removed.push(digest) },
  })
  onTestFinished(async () => {
    await store.close()
    await metadata.close()
  })
  return { store, metadata, disk, removed, lost, stuck, dataDir }
}

async function put(store: BlobStore, name: string, size = 1000): Promise<Digest> {
  const bytes = pseudoRandomBytes(size, name)
  const digest = digestOf(bytes)
  const staging = await store.stage(digest, size, () => {})
  await staging.blob.write(bytes)
  await staging.blob.finish()
  await staging.commit(facts)
  await staging.blob.close()
  return digest
}

describe('a disk that others fill', () => {
  it('makes the least recently used give way, parts of blobs first, until the reserve is free', async () => {
    const { store, disk, removed } = await openStore(GiB)
    const partial = await store.partials.open(digestNamed('part'), 3 * quarterBytes)
    await partial.write(new Uint8Array(quarterBytes), 0)
    partial.hold(0)
    await partial.keep()
    await partial.close()
    const [a, b, c] = [await put(store, 'a'), await put(store, 'b'), await put(store, 'c')]
    await (await store.openBlob(a))?.close()
    disk.left = -1
    await store.makeRoom()
    expect([store.partials.idle, removed]).toEqual([0, []])
    disk.left = quarterBytes
    await store.makeRoom()
    disk.left = -1500
    await store.makeRoom()
    expect(removed).toEqual([b, c])
    expect(store.usage).toMatchObject({ blobs: 1, evictedBlobs: 2, evictedBytes: 2000, isShort: false })
    expect(store.usage).toMatchObject({ freeBytes: GiB - 1500, minFreeBytes: GiB })
  })

  it('never takes what is being read, and says that room is short', async () => {
    const { store, disk, removed } = await openStore(GiB)
    const [a, b] = [await put(store, 'a'), await put(store, 'b')]
    const reader = await store.openBlob(a)
    disk.left = -5000
    await store.makeRoom()
    expect([removed, store.has(a), store.usage.isShort]).toEqual([[b], true, true])
    await reader?.close()
    disk.left = 0
    await store.makeRoom()
    expect([store.has(a), store.usage.isShort]).toEqual([true, false])
  })

  it('keeps a blob that can not be deleted, and takes another one the next time', async () => {
    const { store, disk, dataDir, stuck } = await openStore(GiB)
    const [a, b] = [await put(store, 'a'), await put(store, 'b')]
    // What is not a file is not unlinked.
    const path = join(dataDir, 'blobs/sha256', hexOf(a))
    await rm(path)
    await mkdir(path)
    disk.left = -500
    await store.makeRoom()
    expect([store.has(a), store.has(b), store.usage.evictedBlobs, store.usage.bytes]).toEqual([true, true, 0, 2000])
    expect(stuck).toEqual([expect.stringContaining(path)])
    await store.makeRoom()
    expect([store.has(a), store.has(b), store.usage.evictedBlobs, store.usage.bytes]).toEqual([true, false, 1, 1000])
  })

  it('evicts for what is fetched, and nothing for what does not fit in any case', async () => {
    const { store, removed, disk } = await openStore(3000)
    const [a] = [await put(store, 'a'), await put(store, 'b')]
    disk.left = 1000
    await expect(store.stage(digestNamed('x'), 3001, () => {})).rejects.toMatchObject({
      code: 'no-space',
      message: /store\.minFree/,
    })
    expect(removed).toEqual([])
    const staging = await store.stage(digestNamed('x'), 1500, () => {})
    expect(removed).toEqual([])
    await staging.blob.write(new Uint8Array(1500))
    await staging.blob.finish().catch(() => {})
    expect(removed).toEqual([a])
    await staging.abort()
    await staging.blob.close()
  })

  it('gives bytes that are reserved and not written yet to nobody else', async () => {
    const { store, disk } = await openStore(3 * quarterBytes)
    const partial = await store.partials.open(digestNamed('x'), 2 * quarterBytes)
    await store.makeRoom()
    await expect(store.stage(digestNamed('y'), 2 * quarterBytes, () => {})).rejects.toMatchObject({ code: 'no-space' })
    // What is written, the disk counts itself.
    await partial.write(new Uint8Array(quarterBytes), 0)
    partial.hold(0)
    disk.left = 2 * quarterBytes
    await store.makeRoom()
    const staging = await store.stage(digestNamed('y'), quarterBytes, () => {})
    await staging.abort()
    await staging.blob.close()
    await partial.keep()
    await partial.close()
    // The rest of it only, where it is gone on with.
    const again = await store.partials.open(digestNamed('x'), 2 * quarterBytes)
    await again.discard()
    await again.close()
    const all = await store.stage(digestNamed('y'), 2 * quarterBytes, () => {})
    await all.abort()
    await all.blob.close()
  })
})

describe('a data directory that is removed under a running store', () => {
  it('is made anew, with records that last', async () => {
    const { store, metadata, removed, lost, dataDir } = await openStore(GiB)
    const [a] = [await put(store, 'a')]
    await rm(dataDir, { recursive: true })
    await store.makeRoom()
    await vi.waitFor(() => expect(removed).toHaveLength(1), 50_000)
    expect([removed, lost, store.usage.problem, store.usage.blobs]).toEqual([[a], [undefined], undefined, 0])
    const b = await put(store, 'b')
    await metadata.putTag('a.b/c:d', { digest: b, public: true, identity: 'node', confirmedAt: 1 })
    expect(await metadata.tag('a.b/c:d')).toMatchObject({ digest: b })
    await store.close()
    await metadata.close()
    const again = await Metadata.open(join(dataDir, 'meta'), () => {})
    onTestFinished(() => again.close())
    const records: Digest[] = []
    for await (const [digest] of again.blobs()) records.push(digest)
    expect(records).toEqual([b])
  })

  it('keeps the blobs whose files are there where only the records were removed', async () => {
    const { store, metadata, removed, dataDir } = await openStore(GiB)
    const a = await put(store, 'a')
    await rm(join(dataDir, 'meta'), { recursive: true })
    await store.makeRoom()
    await vi.waitFor(async () => {
      const records: [Digest, boolean][] = []
      for await (const [digest, record] of metadata.blobs()) records.push([digest, record.public])
      expect(records).toEqual([[a, true]])
    }, 50_000)
    expect([removed, store.has(a)]).toEqual([[], true])
  })

  it('says why nothing is stored while it can not be made anew, and goes on when it can', async () => {
    const { store, lost, dataDir } = await openStore(GiB)
    await rm(dataDir, { recursive: true })
    await writeFile(dataDir, 'a file in its place')
    await store.makeRoom()
    await store.makeRoom()
    expect(lost).toEqual([store.usage.problem])
    expect(store.usage.problem).toMatch(/was removed and can't be made anew: E/)
    await rm(dataDir)
    await store.makeRoom()
    expect([lost.length, store.usage.problem]).toEqual([2, undefined])
    const b = await put(store, 'b')
    expect(await readdir(join(dataDir, 'blobs', 'sha256'))).toEqual([hexOf(b)])
  })
})

it('goes on with parts of blobs that an earlier version kept beside blobs/', async () => {
  const dataDir = await tempDir()
  await mkdir(join(dataDir, 'partial'))
  await mkdir(join(dataDir, 'staging'))
  await writeFile(join(dataDir, 'staging', 'half'), 'x')
  const first = await openStore(GiB)
  const partial = await first.store.partials.open(digestNamed('part'), 3 * quarterBytes)
  await partial.write(new Uint8Array(quarterBytes), 0)
  partial.hold(0)
  await partial.keep()
  await partial.close()
  const folder = join(first.dataDir, 'blobs', 'partial')
  for (const name of await readdir(folder)) {
    await copyFile(join(folder, name), join(dataDir, 'partial', name))
  }
  const metadata = await Metadata.open(join(dataDir, 'meta'), () => {})
  const store = await BlobStore.open({
    dataDir,
    metadata,
    maxBytes: GiB,
    events: { stored: () => {}, removing: async () => {} },
  })
  onTestFinished(async () => {
    await store.close()
    await metadata.close()
  })
  expect(store.partials.idle).toBe(1)
  expect((await readdir(dataDir)).sort()).toEqual(['blobs', 'meta'])
})
