import { access, mkdir, readdir, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { StoreError } from '../../../daemon/store/errors.ts'
import { isFullDisk, keepBallast, openWithRoom } from '../../../daemon/store/start-room.ts'
import { tempDir } from '../../fixtures/temp-dir.ts'

const MiB = 2 ** 20
const folders = ['blobs/partial', 'blobs/sha256', 'blobs/sha512', 'blobs/staging']

/** As level says it. */
const full = () => new Error('Database failed to open', { cause: new Error('IO error: LOG: No space left on device') })

/** A data directory with files of 1 MiB, oldest first, and how many of them a full disk has left. */
/** The name of a blob's file. */
const blobAt = (digit: string) => `blobs/sha256/${digit.repeat(64)}`

async function setUp(names: readonly string[]) {
  const dataDir = await tempDir()
  for (const folder of folders) await mkdir(join(dataDir, folder), { recursive: true })
  for (const [index, name] of names.entries()) {
    await writeFile(join(dataDir, name), Buffer.alloc(MiB, 1))
    await utimes(join(dataDir, name), 1_000 + index, 1_000 + index)
  }
  const left = async () => {
    const kept: string[] = []
    for (const folder of folders)
      for (const name of await readdir(join(dataDir, folder))) kept.push(`${folder}/${name}`)
    return kept
  }
  const measure = async () => ({ totalBytes: 80 * MiB, freeBytes: (names.length - (await left()).length) * MiB })
  return { dataDir, left, measure }
}

describe('openWithRoom', () => {
  it('removes what is unfinished, then the oldest blobs, until it can be opened', async () => {
    const names = [blobAt('0'), blobAt('1'), blobAt('2'), 'blobs/partial/p', 'blobs/staging/s']
    const { dataDir, left, measure } = await setUp(names)
    const removed: number[] = []
    let tries = 0
    const open = async () => {
      tries++
      if ((await left()).length > 1) throw full()
      return 'open'
    }
    expect(await openWithRoom(dataDir, open, (bytes) => void removed.push(bytes), measure)).toBe('open')
    expect([tries, removed, await left()]).toEqual([2, [4 * MiB], [blobAt('2')]])
  })

  it('removes more where that was not enough, also where bytes are free and files are too many', async () => {
    const names = [blobAt('a'), blobAt('b'), blobAt('c')]
    const { dataDir, left } = await setUp(names)
    const open = async () => {
      if ((await left()).length > 1) throw full()
    }
    const measure = async () => ({ totalBytes: 10 ** 9, freeBytes: 10 ** 9 })
    await openWithRoom(dataDir, open, () => {}, measure)
    expect(await left()).toEqual([blobAt('c')])
  })

  it('removes nothing for another reason, such as a process that runs on the same folder', async () => {
    const { dataDir, left, measure } = await setUp(['blobs/sha256/a'])
    const locked = new StoreError('locked', 'another layerd is running')
    await expect(
      openWithRoom(
        dataDir,
        () => Promise.reject(locked),
        () => {},
        measure,
      ),
    ).rejects.toBe(locked)
    expect(await left()).toHaveLength(1)
  })

  it('says what to do where nothing of its own is left to remove', async () => {
    const { dataDir, measure } = await setUp(['blobs/sha256/notes of a person'])
    await expect(
      openWithRoom(
        dataDir,
        () => Promise.reject(full()),
        () => {},
        measure,
      ),
    ).rejects.toThrow(/is full, .* free at least 4 MiB/)
  })
})

it('the ballast comes out of the reserve, and gives way to a start', async () => {
  const { dataDir, measure } = await setUp([])
  const ballast = () =>
    access(join(dataDir, 'ballast')).then(
      () => true,
      () => false,
    )
  for (const [freeBytes, minFreeBytes] of [
    [undefined, 0],
    [9 * MiB, 10 * MiB],
    [9 * MiB, 3 * MiB],
  ] as const) {
    await keepBallast(dataDir, { freeBytes, minFreeBytes })
    expect(await ballast()).toBe(false)
  }
  await keepBallast(dataDir, { freeBytes: 20 * MiB, minFreeBytes: 10 * MiB })
  expect(await ballast()).toBe(true)
  const roomy = async () => ({ totalBytes: 80 * MiB, freeBytes: 4 * MiB })
  await openWithRoom(
    dataDir,
    async () => {},
    () => {},
    roomy,
  )
  expect(await ballast()).toBe(true)
  await openWithRoom(
    dataDir,
    async () => {},
    () => {},
    measure,
  )
  expect(await ballast()).toBe(false)
})

it('knows a full disk by code, and by the text of the database, in whatever it caused', () => {
  expect(isFullDisk(full())).toBe(true)
  expect(isFullDisk(Object.assign(new Error('write'), { code: 'ENOSPC' }))).toBe(true)
  expect(isFullDisk(new StoreError('io', 'x', { cause: Object.assign(new Error(''), { code: 'EDQUOT' }) }))).toBe(true)
  expect(isFullDisk(Object.assign(new Error('write'), { code: 'EIO' }))).toBe(false)
  expect(isFullDisk('ENOSPC')).toBe(false)
})
