import { mkdir, open, rename, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'

/** Of digests that blobs have. */
export const algorithms = ['sha256', 'sha512'] as const

/**
 * The folders of the store. What is not proven yet lives beside the blobs, on the same file system: a file gets the name of its blob
 * by a rename, and `blobs/` may be a disk of its own.
 */
export class StoreFolders {
  readonly #dataDir: string
  readonly blobs: string
  /** Blobs that are read as one stream. */
  readonly staging: string
  /** Blobs that are fetched by chunks. */
  readonly partial: string
  /** Blobs that are being pushed. */
  readonly uploads: string

  constructor(dataDir: string) {
    this.#dataDir = dataDir
    this.blobs = join(dataDir, 'blobs')
    this.staging = join(this.blobs, 'staging')
    this.partial = join(this.blobs, 'partial')
    this.uploads = join(this.blobs, 'uploads')
  }

  /** Of what is not proven yet. */
  get #unproven(): readonly string[] {
    return [this.staging, this.partial, this.uploads]
  }

  /** Folders of proven blobs, by algorithm. */
  blobsOf(algorithm: string): string {
    return join(this.blobs, algorithm)
  }

  /** Makes them at start, and removes what an earlier process left unfinished in `staging`. */
  async prepare(): Promise<void> {
    await this.#takeOver()
    await rm(this.staging, { recursive: true, force: true })
    await this.make()
  }

  /** Makes those that are not there. @throws where that can't be done */
  async make(): Promise<void> {
    await mkdir(this.#dataDir, { recursive: true, mode: 0o700 })
    for (const algorithm of algorithms) await mkdir(this.blobsOf(algorithm), { recursive: true })
    for (const folder of this.#unproven) await mkdir(folder, { recursive: true, mode: 0o700 })
  }

  /** Those that are gone: somebody has removed them under a running node. */
  async lost(): Promise<string[]> {
    const lost: string[] = []
    for (const folder of [...algorithms.map((algorithm) => this.blobsOf(algorithm)), ...this.#unproven]) {
      const isLost = await stat(folder).then((found) => !found.isDirectory(), isMissing)
      if (isLost) lost.push(folder)
    }
    return lost
  }

  /** Earlier versions had both beside `blobs/`. What can't be moved to its disk is fetched again. */
  async #takeOver(): Promise<void> {
    await rm(join(this.#dataDir, 'staging'), { recursive: true, force: true })
    const before = join(this.#dataDir, 'partial')
    await mkdir(this.blobs, { recursive: true })
    await rename(before, this.partial).catch(() => rm(before, { recursive: true, force: true }))
  }
}

/** Makes the names in a folder durable. */
export async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r')
  try {
    await folder.sync()
  } finally {
    await folder.close()
  }
}

/** Whether an error says that there is nothing. A disk that does not answer for a moment has lost nothing. */
export function isMissing(error: unknown): boolean {
  const { code = '' } = error as NodeJS.ErrnoException
  return code === 'ENOENT' || code === 'ENOTDIR'
}
