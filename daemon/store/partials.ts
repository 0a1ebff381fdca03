import { open, readdir, readFile, stat, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { algorithmOf, type Digest, digestFrom, hexOf } from '../../proxy/oci/digest.ts'
import { isMissing } from './folders.ts'
import type { BlobFacts } from './metadata.ts'
import { PartialBlob, type PartialPaths } from './partial-blob.ts'
import { type PartialAccess, PartialState } from './partial-state.ts'
import type { Quota, Reservation } from './quota.ts'
import type { PlacedFacts } from './record.ts'

/** A file that becomes a blob of the store. */
export interface Placement {
  readonly digest: Digest
  readonly path: string
  readonly size: number
  readonly facts: PlacedFacts
  readonly checkpoints?: Uint8Array | undefined
  /** Told before it counts as a blob that is held: what was reserved for it is not needed any more. */
  readonly onPlaced: () => void
}

interface PartialsOptions {
  /** Where they are; it is there. */
  readonly folder: string
  readonly quota: Quota
  readonly place: (placement: Placement) => Promise<void>
  readonly now: () => number
}

interface Idle {
  /** Of the quota. */
  readonly bytes: number
  readonly usedAt: number
}

/** Partial blobs in a folder of their own: those that are being fetched, and what fetches that ended early have left for the next one. */
export class Partials {
  readonly #folder: string
  readonly #options: PartialsOptions
  /** Those that nobody fetches, the one that was left first at the front. */
  readonly #idle = new Map<Digest, Idle>()
  readonly #active = new Set<Digest>()

  constructor(options: PartialsOptions) {
    this.#options = options
    this.#folder = options.folder
  }

  /** Finds what an earlier process left. */
  async prepare(): Promise<void> {
    const found: { digest: Digest; bytes: number; usedAt: number }[] = []
    for (const name of await readdir(this.#folder)) {
      const digest = digestOfName(name)
      const partial = digest === undefined ? undefined : await this.#inspect(digest)
      if (digest !== undefined && partial !== undefined) found.push({ digest, ...partial })
      else if (digest !== undefined) await this.#unlink(digest)
      // A data file is looked at together with its state.
      else if (!name.endsWith('.data') || !(await exists(this.#pathsOf(name.slice(0, -'.data'.length)).state))) {
        await unlink(join(this.#folder, name)).catch(() => {})
      }
    }
    for (const { digest, bytes, usedAt } of found.sort((a, b) => a.usedAt - b.usedAt)) {
      this.#idle.set(digest, { bytes, usedAt })
      this.#options.quota.count(bytes)
    }
  }

  /** Partial blobs that nobody fetches at present. */
  get idle(): number {
    return this.#idle.size
  }

  /** Bytes that they take of the quota. */
  get idleBytes(): number {
    return [...this.#idle.values()].reduce((sum, { bytes }) => sum + bytes, 0)
  }

  /** The size of a blob of which a part is held; undefined where none is. */
  async sizeOf(digest: Digest): Promise<number | undefined> {
    if (!this.#idle.has(digest)) return undefined
    return await readHead(this.#pathsOf(nameOf(digest)).state)
  }

  /**
   * Goes on with a blob, or starts it. What is there of another size is removed. Room is made as its bytes come.
   * @param isSizeSure whether the size is more than a stranger's word: nothing is refused for it otherwise, and hardly anything evicted
   * @param learnSize waits for a word that counts; called once, where the blob has come to what a stranger's word evicts
   * @throws {StoreError} quota, no-space, io
   * @throws {Error} where it is being fetched already
   */
  async open(
    digest: Digest,
    size: number,
    isSizeSure: () => boolean = () => true,
    learnSize?: () => Promise<void>,
  ): Promise<PartialBlob> {
    if (this.#active.has(digest)) throw new Error(`${digest} is being fetched already`)
    this.#active.add(digest)
    const kept = this.#idle.get(digest)
    this.#idle.delete(digest)
    const { quota } = this.#options
    quota.release(kept?.bytes ?? 0)
    let reservation: Reservation | undefined
    try {
      const there = Math.min(size, kept?.bytes ?? 0)
      let isChecked = isSizeSure()
      let learns = learnSize
      const mine = await quota.reserve(size, there, isSizeSure)
      reservation = mine
      const growBy = async (bytes: number) => {
        // What can't be kept to its end takes no room from others on the way.
        if (!isChecked && isSizeSure()) await quota.check(mine)
        isChecked ||= isSizeSure()
        await quota.grow(mine, bytes)
      }
      const grow = async (bytes: number) => {
        await growBy(bytes).catch(async (error: unknown) => {
          if (isSizeSure() || learns === undefined) throw error
          await learns()
          learns = undefined
          if (!isSizeSure()) throw error
          await growBy(bytes)
        })
      }
      const paths = this.#pathsOf(nameOf(digest))
      const place = (facts: BlobFacts, checkpoints: Uint8Array | undefined) =>
        this.#options.place({ digest, path: paths.data, size, facts, checkpoints, onPlaced: release })
      const release = () => quota.end(mine)
      const onEnd = (left: number) => {
        const keptBytes = Math.min(left, mine.bytes)
        this.#active.delete(digest)
        quota.end(mine, keptBytes)
        if (keptBytes > 0) this.#idle.set(digest, { bytes: keptBytes, usedAt: this.#options.now() })
      }
      const partial = await PartialBlob.open({ digest, paths, reserved: mine.bytes, grow, place, onEnd }, size)
      mine.written = () => partial.fileBytes
      return partial
    } catch (error) {
      if (reservation !== undefined) quota.end(reservation)
      // What is there was of no use, or was begun just now.
      await this.#unlink(digest)
      this.#active.delete(digest)
      throw error
    }
  }

  /**
   * Removes the one that was left first, for its room.
   * @returns its bytes; undefined where there was none
   * @throws where its file can't be deleted; it counts as before, behind the others
   */
  async dropOldest(): Promise<number | undefined> {
    const [oldest] = this.#idle
    if (oldest === undefined) return undefined
    const [digest, kept] = oldest
    const error = await this.#drop(digest)
    if (error === undefined) return kept.bytes
    if (!this.#active.has(digest)) {
      this.#options.quota.count(kept.bytes)
      this.#idle.set(digest, kept)
    }
    throw error
  }

  /** Removes those that were left before a time in ms since the epoch. */
  async prune(before: number): Promise<void> {
    for (const [digest, { usedAt }] of this.#idle) if (usedAt < before) await this.#drop(digest)
  }

  /** Forgets those whose files are gone. */
  async dropLost(): Promise<void> {
    for (const digest of [...this.#idle.keys()]) {
      if (!(await exists(this.#pathsOf(nameOf(digest)).data))) await this.#drop(digest)
    }
  }

  /** Removes those of which something else is known than what may be kept. @param isKept told who may have the bytes */
  async dropUnless(isKept: (access: PartialAccess) => boolean): Promise<void> {
    for (const digest of [...this.#idle.keys()]) {
      const { state } = this.#pathsOf(nameOf(digest))
      const size = await readHead(state)
      const bytes = await readFile(state).catch(() => Buffer.alloc(0))
      const access = size === undefined ? undefined : PartialState.decode(bytes, size)?.access
      if (access === undefined || !isKept(access)) await this.#drop(digest)
    }
  }

  async #drop(digest: Digest): Promise<Error | undefined> {
    const kept = this.#idle.get(digest)
    // It may have been opened since it was looked at: its files are not to be removed then.
    if (!this.#idle.delete(digest)) return undefined
    this.#options.quota.release(kept?.bytes ?? 0)
    return await this.#unlink(digest)
  }

  /** Gives why its bytes are still there; undefined where they are not. */
  async #unlink(digest: Digest): Promise<Error | undefined> {
    const { data, state } = this.#pathsOf(nameOf(digest))
    await unlink(state).catch(() => {})
    return await unlink(data).then(
      () => undefined,
      (error: Error) => (isMissing(error) ? undefined : error),
    )
  }

  async #inspect(digest: Digest): Promise<{ bytes: number; usedAt: number } | undefined> {
    const paths = this.#pathsOf(nameOf(digest))
    try {
      // What the disk has, as the bits are only a hint.
      const { blocks, mtimeMs } = await stat(paths.data)
      return (await readHead(paths.state)) === undefined ? undefined : { bytes: blocks * 512, usedAt: mtimeMs }
    } catch {
      return undefined
    }
  }

  #pathsOf(name: string): PartialPaths {
    return { data: join(this.#folder, `${name}.data`), state: join(this.#folder, `${name}.state`) }
  }
}

function nameOf(digest: Digest): string {
  return `${algorithmOf(digest)}-${hexOf(digest)}`
}

function digestOfName(name: string): Digest | undefined {
  const match = /^(\w+)-([0-9a-f]+)\.state$/.exec(name)
  return match === null ? undefined : digestFrom(match[1] ?? '', match[2] ?? '')
}

async function exists(path: string): Promise<boolean> {
  return await stat(path).then(
    () => true,
    () => false,
  )
}

async function readHead(path: string): Promise<number | undefined> {
  const file = await open(path, 'r').catch(() => undefined)
  if (file === undefined) return undefined
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(64), 0, 64, 0)
    return PartialState.sizeOf(buffer.subarray(0, bytesRead))
  } finally {
    await file.close()
  }
}
