import { readdir, stat, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { isMissing } from './folders.ts'
import type { Quota } from './quota.ts'
import { Upload } from './upload.ts'

export type { Upload } from './upload.ts'

/** An upload is given up after this time without a request for it, in ms. Until then it goes on after a restart of its client. */
export const uploadLifetime = 24 * 3_600_000

/** After this time without a request, in ms, an upload gives way where its room is needed: a client that was cut comes back sooner. */
const idleAfter = 600_000

interface UploadsOptions {
  /** Where they are; it is there. */
  readonly folder: string
  readonly quota: Quota
  readonly now: () => number
}

/** Blobs that are being pushed, each in a file of its own. They count against the quota, and give way only when their clients have left them. */
export class Uploads {
  readonly #options: UploadsOptions
  readonly #uploads = new Map<string, Upload>()

  constructor(options: UploadsOptions) {
    this.#options = options
  }

  /** Finds what an earlier process was given. */
  async prepare(): Promise<void> {
    const { folder, quota, now } = this.#options
    for (const id of await readdir(folder)) {
      const path = join(folder, id)
      const found = await stat(path).catch(() => undefined)
      if (found?.isFile() !== true) continue
      this.#uploads.set(id, new Upload({ path, length: found.size, usedAt: found.mtimeMs, now, quota }))
    }
  }

  get ids(): readonly string[] {
    return [...this.#uploads.keys()]
  }

  get(id: string): Upload | undefined {
    return this.#uploads.get(id)
  }

  /**
   * Starts one; its file is made with its first bytes.
   * @param id a file name that is not taken
   * @param isHeld whether it never gives way: whoever started it removes it
   */
  start(id: string, isHeld = false): Upload {
    const { folder, quota, now } = this.#options
    const upload = new Upload({ path: join(folder, id), length: 0, usedAt: now(), now, quota, isHeld })
    this.#uploads.set(id, upload)
    return upload
  }

  get count(): number {
    return this.#uploads.size
  }

  /** Bytes that they take of the quota. */
  get bytes(): number {
    return sum(this.#uploads.values())
  }

  /** Bytes that {@link dropIdle} can free. */
  get idleBytes(): number {
    return sum(this.#idle().map(([, upload]) => upload))
  }

  /**
   * Removes the one that its client has left for the longest time, for its room.
   * @returns its bytes; undefined where there was none
   * @throws where its file can't be deleted; it counts as before
   */
  async dropIdle(): Promise<number | undefined> {
    const [oldest] = this.#idle().sort(([, a], [, b]) => a.usedAt - b.usedAt)
    if (oldest === undefined) return undefined
    const [id, upload] = oldest
    // At once, so that nobody goes on with it.
    this.#uploads.delete(id)
    try {
      await unlink(upload.path)
    } catch (error) {
      if (!isMissing(error)) {
        this.#uploads.set(id, upload)
        throw error
      }
    }
    upload.release()
    return upload.length
  }

  /** Removes what was given of one. Nobody may be writing it. */
  async remove(id: string): Promise<void> {
    const upload = this.#uploads.get(id)
    if (upload === undefined) return
    this.#uploads.delete(id)
    upload.release()
    await unlink(upload.path).catch(() => {})
  }

  #idle(): [string, Upload][] {
    const before = this.#options.now() - idleAfter
    return [...this.#uploads].filter(([, { length, usedAt, isBusy }]) => length > 0 && !isBusy && usedAt < before)
  }
}

function sum(uploads: Iterable<Upload>): number {
  let bytes = 0
  for (const { length } of uploads) bytes += length
  return bytes
}
