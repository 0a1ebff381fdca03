import { expect, it } from 'vitest'
import { BlobIndex } from '../../../daemon/store/blob-index.ts'
import { Disk } from '../../../daemon/store/disk.ts'
import { Quota } from '../../../daemon/store/quota.ts'
import { type Digest, digestOf } from '../../../proxy/oci/digest.ts'

const GiB = 2 ** 30
const seconds = 1_000

interface Situation {
  readonly left: number
  readonly frees?: number
  readonly capacity?: number
  readonly partial?: number
}

/**
 * A store of ten blobs of 1,000 bytes on a disk of 10 GiB, of which 1 GiB is to stay free.
 * @param capacity the quota
 * @param partial bytes of parts of blobs that nobody fetches
 * @param frees what of a deletion the file system frees at once, as a share
 */
function setUp({ left, frees = 0, capacity = GiB, partial = 0 }: Situation) {
  const scene = { left, now: 0, removed: [] as Digest[], stuck: [] as string[], isReadOnly: false }
  const index = new BlobIndex(capacity)
  const facts = { mediaType: undefined, public: true, repositories: [], createdAt: 0, lastAccess: 0 }
  for (let blob = 0; blob < 10; blob++) index.add(digestOf(Buffer.from([blob])), { ...facts, size: 1_000 })
  const disk = new Disk({
    minFree: { bytes: GiB },
    measure: async () => ({ totalBytes: 10 * GiB, freeBytes: GiB + scene.left }),
    clock: () => scene.now,
  })
  const quota = new Quota({
    index,
    disk,
    remove: async (digest) => {
      if (scene.isReadOnly) throw new Error('EROFS')
      index.remove(digest)
      scene.removed.push(digest)
      scene.left += 1_000 * frees
      return true
    },
    dropPartial: async () => undefined,
    partialBytes: () => partial,
    onStuck: ({ message }) => scene.stuck.push(message),
  })
  /** Looks at the disk every 5 s, as the node does. */
  const pass = async (ms: number) => {
    for (const end = scene.now + ms; scene.now < end; scene.now += 5 * seconds) await quota.trim()
  }
  /** Makes room for bytes that come. */
  const take = async (bytes: number) => {
    const reservation = await quota.reserve(0)
    try {
      await quota.grow(reservation, bytes)
    } finally {
      quota.end(reservation)
    }
  }
  return { scene, disk, quota, pass, take }
}

it('what a file system frees late is evicted once, and counts as free for a while', async () => {
  const { scene, disk, pass, take } = setUp({ left: -1_500 })
  await pass(30 * seconds)
  expect([scene.removed.length, disk.availableBytes, disk.unfreedBytes]).toEqual([2, 500, 0])
  await take(400)
  expect(scene.removed).toHaveLength(2)
  scene.left = 500
  await pass(30 * seconds)
  expect([scene.removed.length, disk.availableBytes]).toEqual([2, 500])
  // What comes after that is something else.
  scene.left = -500
  await pass(30 * seconds)
  expect(scene.removed).toHaveLength(3)
})

it('what is held by a snapshot is evicted once, and it is said; after a long time once more', async () => {
  const { scene, disk, pass, take } = setUp({ left: -1_500 })
  await pass(300 * seconds)
  expect([scene.removed.length, disk.availableBytes, disk.unfreedBytes]).toEqual([2, -1_500, 2_000])
  await expect(take(400)).rejects.toMatchObject({ code: 'no-space', message: /snapshot/ })
  expect(scene.removed).toHaveLength(2)
  // Others write more than was evicted for.
  scene.left = -2_500
  await pass(100 * seconds)
  expect(scene.removed).toHaveLength(3)
  // The snapshot goes.
  scene.left = 500
  await pass(5 * seconds)
  expect([disk.availableBytes, disk.unfreedBytes]).toEqual([500, 0])
  await take(400)
  expect(scene.removed).toHaveLength(3)
})

it('a snapshot that stays costs a blob every ten minutes, and not every five seconds', async () => {
  const { scene, pass } = setUp({ left: -500 })
  await pass(1_800 * seconds)
  expect(scene.removed.length).toBeLessThanOrEqual(4)
})

it('a file system that compresses frees less than the length of a file, and that is all', async () => {
  const { scene, disk, pass } = setUp({ left: -1_500, frees: 0.6 })
  await pass(5 * seconds)
  expect([scene.removed.length, disk.availableBytes, disk.unfreedBytes]).toEqual([3, 300, 0])
})

it('what is written meanwhile does not hide that room was made', async () => {
  const { scene, disk, quota, pass } = setUp({ left: 500 })
  const reservation = await quota.reserve(500)
  let written = 0
  reservation.written = () => written
  scene.left -= 300
  await pass(5 * seconds)
  expect(scene.removed).toHaveLength(1)
  // It frees the blob and takes what was written in the same moment.
  written = 400
  scene.left += 1_000 - 400
  await pass(5 * seconds)
  expect([scene.removed.length, disk.unfreedBytes, disk.availableBytes]).toEqual([1, 0, 700])
})

it('what can not be deleted counts as nothing, is told, and ends the round', async () => {
  const { scene, disk, quota, pass, take } = setUp({ left: -1_500 })
  scene.isReadOnly = true
  await pass(5 * seconds)
  await expect(take(100)).rejects.toMatchObject({ code: 'no-space' })
  expect([scene.stuck, quota.evicted, disk.availableBytes]).toEqual([
    ['EROFS', 'EROFS'],
    { blobs: 0, bytes: 0 },
    -1_500,
  ])
  scene.isReadOnly = false
  await pass(5 * seconds)
  expect(quota.evicted).toEqual({ blobs: 2, bytes: 2_000 })
})

it('what others write while room is made in the quota is not taken for room that is still to come', async () => {
  const { scene, disk, quota } = setUp({ left: 1_000_000, frees: 1, capacity: 10_000 })
  const reservation = await quota.reserve(5_000)
  for (let blob = 1; blob <= 5; blob++) {
    await quota.grow(reservation, 1_000)
    reservation.written = () => reservation.bytes
    // What has come, and another program's in the same time.
    scene.left -= 1_000 + 3_500
    scene.now += 2 * seconds
  }
  await quota.trim()
  expect([scene.removed.length, disk.availableBytes]).toEqual([5, scene.left])
  scene.now += 70 * seconds
  expect(disk.unfreedBytes).toBe(0)
})

it('two blobs that do not fit together are not both begun', async () => {
  const { scene, quota } = setUp({ left: GiB, capacity: 10_000 })
  const first = await quota.reserve(6_000)
  await expect(quota.reserve(6_000)).rejects.toMatchObject({ code: 'quota', message: /other fetches/ })
  let isSure = false
  const late = await quota.reserve(6_000, 0, () => isSure)
  await quota.grow(late, 1_000)
  isSure = true
  await expect(quota.check(late)).rejects.toMatchObject({ code: 'quota' })
  quota.end(late)
  // What the third one has evicted before it was refused is free for this one at once.
  const small = await quota.reserve(4_000)
  await quota.grow(first, 6_000)
  await quota.grow(small, 4_000 - small.bytes)
  expect(scene.removed).toHaveLength(10)
  quota.end(first)
  quota.end(small)
  await quota.reserve(6_000)
})

it('a blob of unknown size is refused as soon as it is known to take the room of most others', async () => {
  const { quota } = setUp({ left: GiB, capacity: 10_000 })
  let isSure = false
  const reservation = await quota.reserve(8_000, 0, () => isSure)
  await quota.grow(reservation, 1_000)
  isSure = true
  await expect(quota.check(reservation)).rejects.toMatchObject({ code: 'quota' })
})

const days = 24 * 3_600 * seconds

it('what nobody has asked for fits where there is room, and takes the place of nothing that was used lately', async () => {
  const { quota, disk } = setUp({ left: 100_000, capacity: 12_000 })
  expect(disk.availableBytes).toBeGreaterThan(0)
  const now = 29 * days
  expect([await quota.fits(2_000, now), await quota.fits(2_001, now)]).toEqual([true, false])
  // What is being fetched gets its room first.
  const reservation = await quota.reserve(1_500)
  expect([await quota.fits(500, now), await quota.fits(501, now)]).toEqual([true, false])
  quota.end(reservation)
})

it('it takes the place of what nobody has used for 30 days, and of parts that nobody fetches', async () => {
  const full = setUp({ left: 100_000, frees: 1, capacity: 10_000 })
  const later = 31 * days
  expect([await full.quota.fits(1, 29 * days), await full.quota.fits(10_000, later)]).toEqual([false, true])
  expect(await full.quota.fits(10_001, later)).toBe(false)
  expect(full.scene.removed).toEqual([])
  const { quota } = setUp({ left: 100_000, capacity: 10_000, partial: 700 })
  expect([await quota.fits(700, 0), await quota.fits(701, 0)]).toEqual([true, false])
})
