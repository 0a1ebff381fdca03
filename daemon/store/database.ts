import { stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { Level } from 'level'
import { measureDisk } from './disk.ts'
import { StoreError } from './errors.ts'
import { isMissing } from './folders.ts'

type Db = Level<string, string>

/** classic-level's `sync` makes a write survive a power cut; it is missing from the types of `level`. */
export const durable = { keyEncoding: 'utf8', sync: true } as const

/** Bytes that must be free before the database is closed to be opened anew. */
const reopenRoom = 256 * 1024

/** A level database that outlives a full disk and the removal of its files: it is opened anew after a write that failed. */
export class Database {
  readonly #db: Db
  readonly #parts: { open(): Promise<void> }[] = []
  readonly #onLostWrite: (error: unknown) => void
  /** Reads and writes wait for it. */
  #reopening: Promise<void> | undefined
  /** A write has failed: level refuses all others until it is opened anew, or loses what comes after it in its log. */
  #isDamaged = false
  /** Called when it was opened anew: whether what had to be written then is written. */
  #onReopened: () => Promise<void> = async () => {}

  private constructor(db: Db, onLostWrite: (error: unknown) => void) {
    this.#db = db
    this.#onLostWrite = (error) => {
      this.#isDamaged = true
      onLostWrite(error)
    }
  }

  /**
   * @param onLostWrite told of what {@link write} could not write: on a full disk, pulls go on without it
   * @throws {StoreError} locked, where another process has it open
   */
  static async open(folder: string, onLostWrite: (error: unknown) => void): Promise<Database> {
    const db: Db = new Level(folder)
    try {
      await db.open()
    } catch (error) {
      if ((error as { cause?: { code?: unknown } }).cause?.code === 'LEVEL_LOCKED') {
        throw new StoreError(
          'locked',
          `another layerd is running on this data directory (${folder} is locked): stop it, or give this one its own --data-dir`,
          { cause: error },
        )
      }
      throw error
    }
    return new Database(db, onLostWrite)
  }

  /** A part of it, with keys of its own. */
  part<Value>(name: string, valueEncoding: 'json' | 'view' | 'utf8') {
    const part = this.#db.sublevel<string, Value>(name, { valueEncoding })
    this.#parts.push(part)
    return part
  }

  get isOpen(): boolean {
    return this.#db.status === 'open'
  }

  get folder(): string {
    return this.#db.location
  }

  /** @param work writes what the database must have once it was opened anew; where it fails, {@link reopen} does */
  onReopened(work: () => Promise<void>): void {
    this.#onReopened = work
  }

  /** Whether its files were removed while it is open. It would go on without them, and be lost with the process. */
  async isLost(): Promise<boolean> {
    return await stat(join(this.folder, 'CURRENT')).then(() => false, isMissing)
  }

  /** Reads. Undefined where the database could not be opened anew. */
  async read<T>(get: () => Promise<T | undefined>): Promise<T | undefined> {
    await this.#reopening?.catch(() => {})
    return this.isOpen ? await get() : undefined
  }

  /** Writes what can be done without. */
  async write(put: () => Promise<void>): Promise<void> {
    await this.#reopening?.catch(() => {})
    if (this.#isDamaged) await this.reopen().catch(() => {})
    await put().catch(this.#onLostWrite)
  }

  /** Writes what must not be lost, after opening the database anew where it is damaged. @throws where that can't be */
  async mustWrite(put: () => Promise<void>): Promise<void> {
    await this.#reopening?.catch(() => {})
    if (this.#isDamaged) await this.reopen()
    await this.noted(put)
  }

  /** Writes to the database as it is. @throws where that fails */
  async mayWrite(put: () => Promise<void>): Promise<void> {
    await this.#reopening?.catch(() => {})
    await this.noted(put)
  }

  /** Writes at once, also while it is being opened anew. @throws where that fails */
  async noted(put: () => Promise<void>): Promise<void> {
    try {
      await put()
    } catch (error) {
      this.#isDamaged = true
      throw error
    }
  }

  /**
   * Opens it anew: after a write that failed, or where its files are gone. Reads and writes wait meanwhile.
   * @throws where that fails; until it is done, nothing is found in it
   */
  async reopen(): Promise<void> {
    this.#reopening ??= this.#reopenNow().finally(() => {
      this.#reopening = undefined
    })
    await this.#reopening
  }

  async close(): Promise<void> {
    await this.#reopening?.catch(() => {})
    await this.#db.close()
  }

  async #reopenNow(): Promise<void> {
    // On a full disk it could be closed and not opened again: it is better than none as it is.
    const { freeBytes, totalBytes } = await measureDisk(dirname(this.folder))
    if (totalBytes > 0 && freeBytes < reopenRoom)
      throw new StoreError('no-space', 'the disk of the data directory is full')
    await this.#db.close()
    await this.#db.open()
    for (const part of this.#parts) await part.open()
    this.#isDamaged = false
    await this.#onReopened()
  }
}
