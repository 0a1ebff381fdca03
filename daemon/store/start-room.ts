import { open, readdir, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { formatSize } from '../../config/units.ts'
import { digestFrom } from '../../proxy/oci/digest.ts'
import { isMarkedAsKept } from './blob-files.ts'
import { measureDisk } from './disk.ts'
import { uploadLifetime } from './uploads.ts'

/** What a database writes when it opens, in bytes: its log as a table, a new log and a few small files. */
const openRoom = 4 * 2 ** 20

/**
 * Bytes of a file that is there only to be removed when the disk is full at start: other programs may have filled it after all
 * blobs had given way.
 */
const ballastBytes = 2 * 2 ** 20

/** A reserve of fewer bytes has no room for the ballast. */
const smallestReserve = 2 * ballastBytes

const ballastName = 'ballast'

/** Where the file system does not say. */
const unknownSpace = { freeBytes: Number.POSITIVE_INFINITY }

const fullDiskText = /ENOSPC|EDQUOT|No space left on device|Disk quota exceeded/

/** Whether an error, or what caused it, is a full disk. The database has it in its text only. */
export function isFullDisk(error: unknown): boolean {
  for (let at: unknown = error; at instanceof Error; at = at.cause) {
    if (fullDiskText.test(`${(at as NodeJS.ErrnoException).code} ${at.message}`)) return true
  }
  return false
}

interface Removable {
  readonly path: string
  readonly bytes: number
}

interface UsedFile extends Removable {
  /** When it was last read or written, in ms since the epoch. */
  readonly usedAt: number
}

/** A disk that a start writes to. */
interface StartDisk {
  /** A folder on it, for measuring and for a person. */
  readonly folder: string
  readonly dev: number
}

/**
 * Opens what needs room on the disks of the records and of the blobs, and makes that room where there is none: by the ballast, by
 * what a start removes in any case, then by parts of blobs, then by the blobs that were used or written longest ago, as files have
 * it: nothing else can be read yet.
 * What was pushed stays, and so do pushes under way. The first try is made with no blob removed, as another process may be running on this folder.
 * @param onRemoved told how many bytes were removed
 * @throws what `open` throws; an Error for a person where a disk is full and nothing is left to remove on it
 */
export async function openWithRoom<T>(
  dataDir: string,
  open: () => Promise<T>,
  onRemoved: (bytes: number) => void,
  measure = measureDisk,
): Promise<T> {
  const freeOf = async ({ folder }: Pick<StartDisk, 'folder'>) =>
    (await measure(folder).catch(() => unknownSpace)).freeBytes
  if ((await freeOf({ folder: dataDir })) < openRoom) await rm(join(dataDir, ballastName), { force: true })
  for (let room = openRoom; ; room *= 2) {
    try {
      return await open()
    } catch (error) {
      if (!isFullDisk(error)) throw error
      const disks = await disksOf(dataDir)
      // The error does not say which disk is full. A disk with free bytes may be so, too: of files.
      const short: StartDisk[] = []
      for (const disk of disks) if ((await freeOf(disk)) < room) short.push(disk)
      let removed = await removeOn(short, dataDir, room, freeOf)
      if (removed === 0) removed = await removeOn(disks, dataDir, room, freeOf)
      if (removed > 0) {
        onRemoved(removed)
        continue
      }
      const folders = (short.length > 0 ? short : disks).map(({ folder }) => folder).join(' or of ')
      throw new Error(
        `the disk of ${folders} is full, and nothing of this node is left on it to remove but images that were pushed: free at least ${formatSize(openRoom)}, or files where it can hold no more of them`,
        { cause: error },
      )
    }
  }
}

/** The disk of the records, and that of the blobs where it is another one. */
async function disksOf(dataDir: string): Promise<StartDisk[]> {
  const disks: StartDisk[] = []
  for (const folder of [dataDir, join(dataDir, 'blobs')]) {
    const dev = (await stat(folder).catch(() => undefined))?.dev
    if (dev !== undefined && disks.every((other) => other.dev !== dev)) disks.push({ folder, dev })
  }
  return disks
}

/**
 * Keeps some room on the disk of the records for the next start: it comes out of what stays free there. Where blobs are on the same
 * disk, they give way to it.
 */
export async function keepBallast(
  dataDir: string,
  { freeBytes, minFreeBytes }: { readonly freeBytes: number | undefined; readonly minFreeBytes: number },
): Promise<void> {
  const path = join(dataDir, ballastName)
  if (freeBytes === undefined || freeBytes < minFreeBytes || minFreeBytes < smallestReserve) return
  if ((await stat(path).catch(() => undefined))?.size === ballastBytes) return
  const file = await open(path, 'w', 0o600)
  try {
    // Not zeros: some file systems store none.
    const noise = crypto.getRandomValues(new Uint8Array(65_536))
    for (let at = 0; at < ballastBytes; at += noise.length) await file.write(noise, 0, noise.length, at)
  } catch {
    await rm(path, { force: true }).catch(() => {})
  } finally {
    await file.close()
  }
}

/** Removes files until so many bytes are free on each of the disks. @returns how many bytes were removed */
async function removeOn(
  disks: readonly StartDisk[],
  dataDir: string,
  room: number,
  freeOf: (disk: StartDisk) => Promise<number>,
): Promise<number> {
  let all = 0
  for (const disk of disks) {
    const freeBytes = await freeOf(disk)
    let removed = 0
    for await (const { path, bytes } of removables(dataDir, disk.dev)) {
      // One goes in any case: it may be that the disk can't hold more files.
      if (removed > 0 && freeBytes + removed >= room) break
      await rm(path, { force: true })
      removed += bytes
    }
    all += removed
  }
  return all
}

/** What can be removed on a disk, in this order. */
async function* removables(dataDir: string, dev: number): AsyncGenerator<Removable> {
  for (const folder of ['staging', 'partial']) yield* await filesIn(join(dataDir, 'blobs', folder), dev)
  const left = Date.now() - uploadLifetime
  for (const file of await filesIn(join(dataDir, 'blobs', 'uploads'), dev)) if (file.usedAt < left) yield file
  // Other names there are not ours.
  for (const algorithm of ['sha512', 'sha256'] as const)
    yield* await filesIn(join(dataDir, 'blobs', algorithm), dev, (name) => digestFrom(algorithm, name) !== undefined)
}

/** Files that take room on a device, those that were used or written longest ago first. */
async function filesIn(folder: string, dev: number, isOurs = (_: string) => true): Promise<UsedFile[]> {
  const names = (await readdir(folder).catch(() => [])).filter(isOurs)
  const files: UsedFile[] = []
  for (const name of names) {
    const path = join(folder, name)
    const found = await stat(path).catch(() => undefined)
    if (found?.isFile() !== true || found.dev !== dev || found.blocks === 0 || isMarkedAsKept(found.mode)) continue
    files.push({ path, bytes: found.blocks * 512, usedAt: Math.max(found.atimeMs, found.mtimeMs) })
  }
  return files.sort((a, b) => a.usedAt - b.usedAt)
}
