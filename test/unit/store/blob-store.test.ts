import { appendFile, mkdir, readdir, readFile, rename, symlink, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { BlobFiles } from '../../../daemon/store/blob-files.ts'
import { BlobStore, type StoredBlob } from '../../../daemon/store/blob-store.ts'
import { Metadata } from '../../../daemon/store/metadata.ts'
import { scrubOnce } from '../../../daemon/store/scrub.ts'
import { DigestMismatch } from '../../../daemon/verify/mismatch.ts'
import { algorithmOf, type Digest, digestOf, hexOf } from '../../../proxy/oci/digest.ts'
import { collect, piecesOf, pseudoRandomBytes } from '../../fixtures/bytes.ts'
import { tempDir } from '../../fixtures/temp-dir.ts'

const facts = { mediaType: undefined, public: true, repository: 'docker.io/library/a' }
const signal = new AbortController().signal

async function openStore(dataDir: string, maxBytes = 100_000_000) {
  const stored: Digest[] = []
  const removing: Digest[] = []
  let clock = 1
  const metadata = await Metadata.open(join(dataDir, 'meta'), () => {})
  const store = await BlobStore.open({
    dataDir,
    metadata,
    maxBytes,
    now: () => clock++,
    events: {
      stored: (digest) => void stored.push(digest),
      removing: async (digest) => void removing.push(digest),
    },
  })
  let closed = false
  const close = async () => {
    if (closed) return
    closed = true
    await store.close()
    await metadata.close()
  }
  onTestFinished(close)
  return { store, metadata, stored, removing, close }
}

async function put(
  store: BlobStore,
  bytes: Uint8Array,
  digest = digestOf(bytes),
  size: number | undefined = bytes.length,
) {
  const staging = await store.stage(digest, size, () => {})
  try {
    for await (const piece of piecesOf(bytes, 100_000)) await staging.blob.write(piece)
    await staging.blob.finish()
    await staging.commit(facts)
  } catch (error) {
    await staging.abort()
    throw error
  } finally {
    await staging.blob.close()
  }
  return digest
}

/** The digest of what the store gives: comparing megabytes byte by byte is slow. */
async function get(store: BlobStore, digest: Digest): Promise<Digest | undefined> {
  const blob = await store.openBlob(digest)
  if (blob === undefined) return undefined
  const bytes = await collect(blob.read(0, blob.record.size - 1, signal))
  await blob.close()
  return digestOf(bytes, algorithmOf(digest))
}

describe('BlobStore', () => {
  it('leaves no blob that does not count, where its folder can not be made durable', async () => {
    const dataDir = await tempDir()
    const { store } = await openStore(dataDir)
    const { place } = BlobFiles.prototype
    const spy = vi.spyOn(BlobFiles.prototype, 'place').mockImplementationOnce(async function (
      this: BlobFiles,
      ...args
    ) {
      await place.apply(this, args)
      throw new Error('EIO')
    })
    onTestFinished(() => spy.mockRestore())
    await expect(put(store, Buffer.from('a'))).rejects.toThrow('EIO')
    expect(await readdir(join(dataDir, 'blobs', 'sha256'))).toEqual([])
    expect(store.usage.bytes).toBe(0)
  })

  it.each([0, 1, 512 * 1024, 3_333_333])('keeps %i bytes under the name of an OCI layout', async (length) => {
    const dataDir = await tempDir()
    const { store, stored } = await openStore(dataDir)
    const bytes = pseudoRandomBytes(length)
    const digest = await put(store, bytes)
    expect(await get(store, digest)).toBe(digest)
    expect(bytes.equals(await readFile(join(dataDir, 'blobs', 'sha256', hexOf(digest))))).toBe(true)
    expect(stored).toEqual([digest])
    expect(store.usage).toMatchObject({ bytes: length, blobs: 1 })
  })

  it('keeps sha512 blobs, and blobs whose size was not known', async () => {
    const { store } = await openStore(await tempDir())
    const bytes = pseudoRandomBytes(2_000_000)
    const digest = await put(store, bytes, digestOf(bytes, 'sha512'), undefined)
    expect(await get(store, digest)).toBe(digest)
  })

  it('gives any range', async () => {
    const { store } = await openStore(await tempDir())
    const bytes = pseudoRandomBytes(1_500_000)
    const blob = (await store.openBlob(await put(store, bytes))) as StoredBlob
    onTestFinished(() => blob.close())
    for (const [start, end] of [
      [0, 0],
      [524_287, 524_288],
      [1_499_999, 1_499_999],
      [3, 1_400_000],
    ] as const) {
      expect(bytes.subarray(start, end + 1).equals(await collect(blob.read(start, end, signal)))).toBe(true)
    }
  })

  it('takes no wrong byte', async () => {
    const dataDir = await tempDir()
    const { store } = await openStore(dataDir)
    const digest = digestOf(Buffer.from('right'))
    await expect(put(store, Buffer.from('wrong'), digest)).rejects.toThrow(DigestMismatch)
    expect(store.has(digest)).toBe(false)
    expect(await readdir(join(dataDir, 'blobs', 'staging'))).toEqual([])
    expect(await readdir(join(dataDir, 'blobs', 'sha256'))).toEqual([])
  })

  it('gives what has arrived while the rest has not', async () => {
    const { store } = await openStore(await tempDir())
    const bytes = pseudoRandomBytes(300_000)
    const { promise: progress, resolve } = Promise.withResolvers<void>()
    const staging = await store.stage(digestOf(bytes), bytes.length, resolve)
    onTestFinished(() => staging.blob.close())
    await staging.blob.write(bytes.subarray(0, 1000))
    await progress
    expect(staging.blob.readable).toBe(1000)
    expect(await collect(staging.blob.read(10, 999, signal))).toEqual(bytes.subarray(10, 1000))
    await staging.abort()
  })

  it('is served again where an earlier version kept something as its media type that is none', async () => {
    const dataDir = await tempDir()
    const before = await openStore(dataDir)
    const digest = await put(before.store, Buffer.from('a blob'))
    const record = before.store.record(digest)
    if (record === undefined) throw new Error('not kept')
    await before.metadata.putBlob(digest, { ...record, mediaType: `a/b\n${'c'.repeat(251)}` })
    await before.close()
    const { store } = await openStore(dataDir)
    expect(store.record(digest)).toEqual({ ...record, mediaType: undefined })
  })

  it('is found again after a restart', async () => {
    const dataDir = await tempDir()
    const bytes = pseudoRandomBytes(100_000)
    const first = await openStore(dataDir)
    const digest = await put(first.store, bytes)
    await first.close()
    const { store } = await openStore(dataDir)
    expect(await get(store, digest)).toBe(digest)
    expect(store.record(digest)).toMatchObject({ public: true, repositories: [facts.repository] })
  })

  it('refuses a data directory that is in use, and says so', async () => {
    const dataDir = await tempDir()
    await openStore(dataDir)
    await expect(Metadata.open(join(dataDir, 'meta'), () => {})).rejects.toThrow(
      /another layerd is running on this data directory/,
    )
  })

  it('removes what a crash left in staging, and adopts a blob whose record was lost, for nobody but who upstream lets have it', async () => {
    const dataDir = await tempDir()
    const bytes = pseudoRandomBytes(50_000)
    const digest = digestOf(bytes)
    await mkdir(join(dataDir, 'blobs', 'staging'), { recursive: true })
    await mkdir(join(dataDir, 'blobs', 'sha256'), { recursive: true })
    await writeFile(join(dataDir, 'blobs', 'staging', 'half'), bytes.subarray(0, 10))
    await writeFile(join(dataDir, 'blobs', 'sha256', hexOf(digest)), bytes)
    await writeFile(join(dataDir, 'blobs', 'sha256', 'README'), 'not a blob')
    const { store } = await openStore(dataDir)
    expect(await readdir(join(dataDir, 'blobs', 'staging'))).toEqual([])
    expect(await get(store, digest)).toBe(digest)
    expect(store.record(digest)).toMatchObject({ public: false, repositories: [] })
    expect(store.usage.blobs).toBe(1)
  })

  it('drops a blob whose file is gone, short or long', async () => {
    const dataDir = await tempDir()
    const { store, removing } = await openStore(dataDir)
    const digests: Digest[] = []
    for (let seed = 0; seed < 3; seed++) digests.push(await put(store, pseudoRandomBytes(1000, seed)))
    const [gone = '', short = '', long = ''] = digests.map((digest) => join(dataDir, 'blobs', 'sha256', hexOf(digest)))
    await rename(gone, join(dataDir, 'elsewhere'))
    await truncate(short, 999)
    await appendFile(long, 'x')
    for (const digest of digests) expect(await get(store, digest)).toBeUndefined()
    expect(removing).toEqual(digests)
    expect(store.usage).toMatchObject({ bytes: 0, blobs: 0 })
    expect(await readdir(join(dataDir, 'blobs', 'sha256'))).toEqual([])
    const again = await put(store, pseudoRandomBytes(1000, 0))
    expect(await get(store, again)).toBe(again)
  })

  it('drops a blob that can not be opened, and the check of the others goes on', async () => {
    const dataDir = await tempDir()
    const { store } = await openStore(dataDir)
    const good = await put(store, pseudoRandomBytes(1000, 'good'))
    const bad = await put(store, pseudoRandomBytes(1000, 'bad'))
    const path = join(dataDir, 'blobs', 'sha256', hexOf(bad))
    await rename(path, join(dataDir, 'elsewhere'))
    // A link to itself can't be followed: ELOOP, not ENOENT.
    await symlink(path, path)
    await scrubOnce({ store, rate: 1e9, onDamaged: () => {} }, signal)
    expect(store.digests()).toEqual([good])
    expect(await put(store, pseudoRandomBytes(1000, 'bad'))).toBe(bad)
    expect(await get(store, bad)).toBe(bad)
  })

  it('finds flipped bits in the background, and drops only that blob', async () => {
    const dataDir = await tempDir()
    const { store } = await openStore(dataDir)
    const good = await put(store, pseudoRandomBytes(10_000, 'good'))
    const bad = await put(store, pseudoRandomBytes(10_000, 'bad'))
    const path = join(dataDir, 'blobs', 'sha256', hexOf(bad))
    const flipped = await readFile(path)
    flipped[5000] = (flipped[5000] ?? 0) ^ 1
    await writeFile(path, flipped)
    const damaged: Digest[] = []
    await scrubOnce({ store, rate: 1e9, onDamaged: (digest) => void damaged.push(digest) }, signal)
    expect(damaged).toEqual([bad])
    expect(store.digests()).toEqual([good])
  })
})

describe('quota', () => {
  it('evicts the least recently used, and withdraws it first', async () => {
    const { store, removing } = await openStore(await tempDir(), 2500)
    const a = await put(store, pseudoRandomBytes(1000, 'a'))
    const b = await put(store, pseudoRandomBytes(1000, 'b'))
    await get(store, a)
    const c = await put(store, pseudoRandomBytes(1000, 'c'))
    expect(removing).toEqual([b])
    expect(store.digests()).toEqual([c, a])
    expect(store.usage).toMatchObject({ bytes: 2000, maxBytes: 2500 })
  })

  it('never takes a blob in use', async () => {
    const { store } = await openStore(await tempDir(), 1500)
    const a = await put(store, pseudoRandomBytes(1000, 'a'))
    const reader = await store.openBlob(a)
    await expect(put(store, pseudoRandomBytes(1000, 'b'))).rejects.toMatchObject({ code: 'quota' })
    expect(await get(store, a)).toBe(a)
    await reader?.close()
    await put(store, pseudoRandomBytes(1000, 'b'))
    expect(store.has(a)).toBe(false)
  })

  it('counts what is being written, also when its size was not known', async () => {
    const { store } = await openStore(await tempDir(), 1500)
    const first = await store.stage(digestOf(Buffer.from('x')), 1000, () => {})
    await expect(store.stage(digestOf(Buffer.from('y')), 1000, () => {})).rejects.toMatchObject({ code: 'quota' })
    await first.abort()
    await first.blob.close()
    const bytes = pseudoRandomBytes(1600)
    await expect(put(store, bytes, digestOf(bytes), undefined)).rejects.toMatchObject({ code: 'quota' })
    await put(store, pseudoRandomBytes(1400), undefined, undefined)
    expect(store.usage.bytes).toBe(1400)
  })

  it('evicts nothing when that would not make enough room', async () => {
    const { store, removing } = await openStore(await tempDir(), 10_000)
    for (const seed of ['a', 'b', 'c']) await put(store, pseudoRandomBytes(1000, seed))
    const running = await store.stage(digestOf(Buffer.from('x')), 6500, () => {})
    await expect(store.stage(digestOf(Buffer.from('y')), 5000, () => {})).rejects.toMatchObject({ code: 'quota' })
    expect(removing).toEqual([])
    await running.abort()
    await running.blob.close()
  })

  it('refuses a blob that is larger than all of it, and evicts nothing for it', async () => {
    const { store, removing } = await openStore(await tempDir(), 1500)
    await put(store, pseudoRandomBytes(1000))
    await expect(store.stage(digestOf(Buffer.from('x')), 1501, () => {})).rejects.toMatchObject({ code: 'quota' })
    expect(removing).toEqual([])
  })

  it('is kept after a start with a smaller one, in the order of last use before the restart', async () => {
    const dataDir = await tempDir()
    const first = await openStore(dataDir, 5000)
    const a = await put(first.store, pseudoRandomBytes(1000, 'a'))
    const b = await put(first.store, pseudoRandomBytes(1000, 'b'))
    await get(first.store, a)
    await first.close()
    const { store } = await openStore(dataDir, 1500)
    expect(store.has(a)).toBe(true)
    expect(store.has(b)).toBe(false)
  })
})
