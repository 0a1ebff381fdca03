import { createHash } from 'node:crypto'
import { chmod, readdir, readFile, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import { BlobStore } from '../../../daemon/store/blob-store.ts'
import { Metadata } from '../../../daemon/store/metadata.ts'
import { computeCheckpoints } from '../../../daemon/verify/checkpoints.ts'
import { DigestMismatch } from '../../../daemon/verify/mismatch.ts'
import { type Digest, digestOf, hexOf } from '../../../proxy/oci/digest.ts'
import { piecesOf, pseudoRandomBytes } from '../../fixtures/bytes.ts'
import { tempDir } from '../../fixtures/temp-dir.ts'
import { engineNames, useEngines, withoutNative } from '../verify/engines.ts'

const MiB = 2 ** 20
const engineOf = useEngines()

async function openStore(dataDir: string, maxBytes = 100 * MiB) {
  const metadata = await Metadata.open(join(dataDir, 'meta'), () => {})
  const events = { stored: () => {}, removing: async () => {} }
  const store = await BlobStore.open({ dataDir, metadata, maxBytes, events })
  let isClosed = false
  const close = async () => {
    if (isClosed) return
    isClosed = true
    await store.close()
    await metadata.close()
  }
  onTestFinished(close)
  return { store, close }
}

/** A body that is cut after some bytes. */
async function* cut(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield* piecesOf(bytes, 70_001)
  throw new Error('cut')
}

const blob = pseudoRandomBytes(5 * MiB + 12_345, 'blob')
const digest = digestOf(blob)

for (const name of engineNames) {
  describe.skipIf(name === 'native' && withoutNative)(`an upload, with the ${name} engine`, () => {
    it('is hashed as it comes, in pieces of any length, with its checkpoints', async () => {
      const engine = await engineOf(name)
      const { store } = await openStore(await tempDir())
      const upload = await store.uploads.start('one')
      let start = 0
      for (const [length, piece] of [
        [1, 1],
        [63, 10],
        [700_000, 4_096],
        [3 * MiB, 70_001],
      ] as const) {
        await upload.append(engine, piecesOf(blob.subarray(start, start + length), piece), length)
        start += length
        expect(upload.length).toBe(start)
      }
      await upload.append(engine, piecesOf(blob.subarray(start), 65_536), undefined)
      const checkpoints = await upload.prove(engine, digest)
      const truth = await computeCheckpoints(engine, digest, blob.length, piecesOf(blob, MiB))
      expect(checkpoints).toEqual(truth.encode())
      await store.putUpload(upload, digest, checkpoints)
      expect(truth.encode()).toEqual(Uint8Array.from((await store.checkpoints(digest)) ?? []))
    })

    it('goes on after a cut, and in another process', async () => {
      const engine = await engineOf(name)
      const dataDir = await tempDir()
      const first = await openStore(dataDir)
      const upload = await first.store.uploads.start('one')
      await expect(upload.append(engine, cut(blob.subarray(0, 2 * MiB + 7)), blob.length)).rejects.toThrow('cut')
      expect(upload.length).toBe(2 * MiB + 7)
      await first.close()
      const { store } = await openStore(dataDir)
      const again = store.uploads.get('one')
      expect(again?.length).toBe(2 * MiB + 7)
      await again?.append(engine, piecesOf(blob.subarray(2 * MiB + 7), 65_536), undefined)
      await again?.prove(engine, digest)
    })
  })
}

it('may have any digest', async () => {
  const engine = await engineOf('portable')
  const { store } = await openStore(await tempDir())
  const upload = await store.uploads.start('one')
  await upload.append(engine, piecesOf(blob, 65_536), blob.length)
  await expect(upload.prove(engine, digestOf(Buffer.alloc(1)))).rejects.toThrow(DigestMismatch)
  const sha512 = `sha512:${createHash('sha512').update(blob).digest('hex')}` as Digest
  expect(await upload.prove(engine, sha512)).toBeUndefined()
  expect(await upload.prove(engine, digest)).toBeDefined()
})

it('takes room for what was announced before it comes, and gives back what did not come', async () => {
  const engine = await engineOf('portable')
  const { store } = await openStore(await tempDir(), 10 * MiB)
  const [one, two] = [await store.uploads.start('one'), await store.uploads.start('two')]
  let isRead = false
  const body = async function* () {
    isRead = true
    yield Buffer.alloc(1)
  }
  await one.append(engine, piecesOf(blob, MiB), blob.length)
  await expect(two.append(engine, body(), 6 * MiB)).rejects.toMatchObject({ code: 'quota' })
  expect(isRead).toBe(false)
  // Of six only one came.
  await expect(two.append(engine, cut(Buffer.alloc(MiB)), 4 * MiB)).rejects.toThrow('cut')
  const three = await store.uploads.start('three')
  await three.append(engine, piecesOf(Buffer.alloc(3 * MiB), MiB), 3 * MiB)
  await store.uploads.remove('one')
  await two.append(engine, piecesOf(Buffer.alloc(5 * MiB), MiB), 5 * MiB)
  expect(two.length).toBe(6 * MiB)
})

it('becomes a blob that is kept: no eviction, no start on a full disk takes it', async () => {
  const engine = await engineOf('portable')
  const dataDir = await tempDir()
  const first = await openStore(dataDir, 8 * MiB)
  const upload = await first.store.uploads.start('one')
  await upload.append(engine, piecesOf(blob, MiB), blob.length)
  await first.store.putUpload(upload, digest, await upload.prove(engine, digest))
  await first.store.uploads.remove('one')
  expect(first.store.usage).toMatchObject({ bytes: blob.length, keptBytes: blob.length })
  await expect(first.store.stage(digestOf(Buffer.alloc(1)), 4 * MiB, () => {})).rejects.toMatchObject({
    code: 'quota',
    message: expect.stringContaining('delete some of them'),
  })
  const path = join(dataDir, 'blobs', 'sha256', hexOf(digest))
  expect((await stat(path)).mode & 0o777).toBe(0o444)
  await first.close()
  // A smaller quota than what is kept.
  const second = await openStore(dataDir, 2 * MiB)
  expect(second.store.record(digest)).toMatchObject({ kept: true, public: false, repositories: [] })
  expect(await second.store.setKept(digest, false)).toBe(true)
  expect((await stat(path)).mode & 0o777).toBe(0o644)
  await second.store.makeRoom()
  expect(second.store.has(digest)).toBe(false)
  expect(await second.store.setKept(digest, true)).toBe(false)
})

it('is known to be kept by its file alone', async () => {
  const dataDir = await tempDir()
  const first = await openStore(dataDir)
  const engine = await engineOf('portable')
  const upload = await first.store.uploads.start('one')
  await upload.append(engine, piecesOf(blob, MiB), blob.length)
  await first.store.putUpload(upload, digest, undefined)
  await first.close()
  const path = join(dataDir, 'blobs', 'sha256', hexOf(digest))

  await rm(join(dataDir, 'meta'), { recursive: true })
  const second = await openStore(dataDir)
  expect(second.store.record(digest)?.kept).toBe(true)
  await second.close()
  await rm(join(dataDir, 'meta'), { recursive: true })
  await chmod(path, 0o644)
  expect((await openStore(dataDir)).store.record(digest)?.kept).toBe(false)
})

it('leaves no file when it is removed', async () => {
  const engine = await engineOf('portable')
  const dataDir = await tempDir()
  const { store } = await openStore(dataDir)
  const upload = await store.uploads.start('one')
  await upload.append(engine, piecesOf(blob, MiB), blob.length)
  const folder = join(dataDir, 'blobs', 'uploads')
  expect(await readFile(join(folder, 'one'))).toEqual(blob)
  await store.uploads.remove('one')
  expect([await readdir(folder), store.uploads.get('one')]).toEqual([[], undefined])
})
