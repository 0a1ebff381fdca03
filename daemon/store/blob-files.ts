import { randomUUID } from 'node:crypto'
import { constants, type FileHandle, mkdir, open, readdir, rename, rm, stat, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { algorithmOf, type Digest, digestFrom, hexOf } from '../../proxy/oci/digest.ts'
import { writeError } from './errors.ts'

const tooManyFilesCodes: ReadonlySet<unknown> = new Set(['EMFILE', 'ENFILE'])

const algorithms = ['sha256', 'sha512'] as const

/** The files of the store: `blobs/<algorithm>/<hex>` for what is proven, `staging/` for what is not. */
export class BlobFiles {
  readonly #blobs: string
  readonly #staging: string

  constructor(dataDir: string) {
    this.#blobs = join(dataDir, 'blobs')
    this.#staging = join(dataDir, 'staging')
  }

  /** Makes the folders, and removes what an earlier process left unfinished. */
  async prepare(): Promise<void> {
    await rm(this.#staging, { recursive: true, force: true })
    await mkdir(this.#staging, { recursive: true, mode: 0o700 })
    for (const algorithm of algorithms) await mkdir(join(this.#blobs, algorithm), { recursive: true })
  }

  /** All blobs; files with other names are not ours. */
  async list(): Promise<Set<Digest>> {
    const found = new Set<Digest>()
    for (const algorithm of algorithms) {
      for (const name of await readdir(join(this.#blobs, algorithm))) {
        const digest = digestFrom(algorithm, name)
        if (digest !== undefined) found.add(digest)
      }
    }
    return found
  }

  /**
   * Opens a blob; undefined where its file is gone, damaged or of another length.
   * @throws where this process has too many files open, which says nothing of the blob
   */
  async open(digest: Digest, size: number): Promise<FileHandle | undefined> {
    let file: FileHandle | undefined
    try {
      file = await open(this.#pathOf(digest), 'r')
      if ((await file.stat()).size === size) return file
    } catch (error) {
      if (tooManyFilesCodes.has((error as NodeJS.ErrnoException).code)) throw error
    }
    await file?.close()
    return undefined
  }

  async stat(digest: Digest): Promise<{ readonly size: number; readonly modifiedAt: number }> {
    const { size, mtimeMs } = await stat(this.#pathOf(digest))
    return { size, modifiedAt: mtimeMs }
  }

  /** Starts a new file. @throws {StoreError} no-space, io */
  async stage(): Promise<{ readonly path: string; readonly file: FileHandle }> {
    const path = join(this.#staging, randomUUID())
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
    const folder = await open(join(this.#blobs, algorithmOf(digest)), 'r')
    try {
      await folder.sync()
    } finally {
      await folder.close()
    }
  }

  /** What can't be deleted is left for the next start to find. */
  async unlink(digest: Digest): Promise<void> {
    await unlink(this.#pathOf(digest)).catch(() => {})
  }

  /** As `unlink`. */
  async unlinkStaged(path: string): Promise<void> {
    await unlink(path).catch(() => {})
  }

  #pathOf(digest: Digest): string {
    return join(this.#blobs, algorithmOf(digest), hexOf(digest))
  }
}
