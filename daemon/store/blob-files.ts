import { randomUUID } from 'node:crypto'
import { chmod, constants, type FileHandle, link, open, readdir, rename, stat, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { algorithmOf, type Digest, digestFrom, hexOf, isDigest } from '../../proxy/oci/digest.ts'
import { writeError } from './errors.ts'
import { algorithms, isMissing, type StoreFolders, syncFolder } from './folders.ts'

/** A blob that nobody may write is one that was pushed; the mode stays with the file also when a data directory is copied. */
const keptMode = 0o444
const ordinaryMode = 0o644

/** @param mode of the file of a blob */
export function isMarkedAsKept(mode: number): boolean {
  return (mode & 0o222) === 0
}

/** Of file systems that give a file one name only, such as FAT. */
const noLinks: ReadonlySet<unknown> = new Set(['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EMLINK'])

/** Whether this process has too many files open, which says nothing of the one that it wanted to open. */
export function isTooManyFiles(error: unknown): boolean {
  const { code } = error as NodeJS.ErrnoException
  return code === 'EMFILE' || code === 'ENFILE'
}

/** The files of blobs: `<algorithm>/<hex>` for what is proven, `staging/` for what is not. */
export class BlobFiles {
  readonly #folders: StoreFolders

  constructor(folders: StoreFolders) {
    this.#folders = folders
  }

  /** All blobs; files with other names are not ours. */
  async list(): Promise<Set<Digest>> {
    const found = new Set<Digest>()
    for (const algorithm of algorithms) {
      for (const name of await readdir(this.#folders.blobsOf(algorithm))) {
        const digest = digestFrom(algorithm, name)
        if (digest !== undefined) found.add(digest)
      }
    }
    return found
  }

  /**
   * Opens a blob; undefined where its file is gone, or has another length.
   * @throws where it can't be opened for another reason, which may pass
   */
  async open(digest: Digest, size: number): Promise<FileHandle | undefined> {
    let file: FileHandle | undefined
    try {
      file = await open(this.#pathOf(digest), 'r')
      if ((await file.stat()).size === size) return file
    } catch (error) {
      await file?.close()
      if (isMissing(error)) return undefined
      throw error
    }
    await file.close()
    return undefined
  }

  async stat(digest: Digest): Promise<{ readonly size: number; readonly modifiedAt: number; readonly kept: boolean }> {
    const { size, mtimeMs, mode } = await stat(this.#pathOf(digest))
    return { size, modifiedAt: mtimeMs, kept: isMarkedAsKept(mode) }
  }

  /**
   * Says by the mode of a file whether its blob is to be kept, for a start that can't read the records.
   * @param file a blob, or the path of one that is to become one
   */
  async mark(file: Digest | string, isKept: boolean): Promise<void> {
    await chmod(isDigest(file) ? this.#pathOf(file) : file, isKept ? keptMode : ordinaryMode).catch(() => {})
  }

  /** Whether the file of a blob is there, or may be. */
  async has(digest: Digest): Promise<boolean> {
    return await stat(this.#pathOf(digest)).then(
      () => true,
      (error: unknown) => !isMissing(error),
    )
  }

  /** Starts a new file. @throws {StoreError} no-space, io */
  async stage(): Promise<{ readonly path: string; readonly file: FileHandle }> {
    const path = join(this.#folders.staging, randomUUID())
    try {
      return { path, file: await open(path, constants.O_RDWR | constants.O_CREAT | constants.O_EXCL, 0o644) }
    } catch (error) {
      throw writeError(error)
    }
  }

  /** Gives a staged file, whose bytes are durable, the name of its blob; durable when it returns. */
  async place(path: string, digest: Digest): Promise<void> {
    await rename(path, this.#pathOf(digest))
    // A rename is durable only when its folder is.
    await syncFolder(this.#folders.blobsOf(algorithmOf(digest)))
  }

  /**
   * Gives a file a second name in `staging/`, so that it can become a blob and keep its own.
   * @returns that name; its own where the file system has no links
   * @throws {StoreError} no-space, io
   */
  async link(path: string): Promise<string> {
    const second = join(this.#folders.staging, randomUUID())
    try {
      await link(path, second)
      return second
    } catch (error) {
      if (noLinks.has((error as NodeJS.ErrnoException).code)) return path
      throw writeError(error)
    }
  }

  /** Gives why the file is still there; undefined where it is not. */
  async unlink(digest: Digest): Promise<Error | undefined> {
    return await unlink(this.#pathOf(digest)).then(
      () => undefined,
      (error: Error) => (isMissing(error) ? undefined : error),
    )
  }

  /** What can't be deleted is left for the next start to find. */
  async unlinkStaged(path: string): Promise<void> {
    await unlink(path).catch(() => {})
  }

  #pathOf(digest: Digest): string {
    return join(this.#folders.blobsOf(algorithmOf(digest)), hexOf(digest))
  }
}
