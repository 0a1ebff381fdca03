import { readdir, stat, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import type { Quota } from './quota.ts'
import { Upload } from './upload.ts'

export type { Upload } from './upload.ts'

interface UploadsOptions {
  /** Where they are; it is there. */
  readonly folder: string
  readonly quota: Quota
}

/** Blobs that are being pushed, each in a file of its own. They count against the quota, and nothing evicts them. */
export class Uploads {
  readonly #options: UploadsOptions
  readonly #uploads = new Map<string, Upload>()

  constructor(options: UploadsOptions) {
    this.#options = options
  }

  /** Finds what an earlier process was given. */
  async prepare(): Promise<void> {
    const { folder, quota } = this.#options
    for (const id of await readdir(folder)) {
      const path = join(folder, id)
      const found = await stat(path).catch(() => undefined)
      if (found?.isFile() !== true) continue
      this.#add(
        id,
        new Upload({ path, length: found.size, usedAt: found.mtimeMs, reservation: quota.adopt(found.size), quota }),
      )
    }
  }

  get ids(): readonly string[] {
    return [...this.#uploads.keys()]
  }

  get(id: string): Upload | undefined {
    return this.#uploads.get(id)
  }

  /** Starts one; its file is made with its first bytes. @param id a file name that is not taken */
  async start(id: string): Promise<Upload> {
    const { folder, quota } = this.#options
    const reservation = await quota.reserve(0)
    const upload = new Upload({ path: join(folder, id), length: 0, usedAt: Date.now(), reservation, quota })
    this.#add(id, upload)
    return upload
  }

  /** Removes what was given of one. Nobody may be writing it. */
  async remove(id: string): Promise<void> {
    const upload = this.#uploads.get(id)
    if (upload === undefined) return
    this.#uploads.delete(id)
    upload.end()
    await unlink(upload.path).catch(() => {})
  }

  #add(id: string, upload: Upload): void {
    this.#uploads.set(id, upload)
  }
}
