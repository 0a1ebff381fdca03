import { constants, type FileHandle, open, readFile, unlink } from 'node:fs/promises'
import type { Digest } from '../../proxy/oci/digest.ts'
import { Bitfield } from '../verify/bitfield.ts'
import { quarterBytes, quarterLength } from '../verify/quarter.ts'
import { type FilePlace, WriteFailure } from '../verify/state.ts'
import { writeError } from './errors.ts'
import type { BlobFacts } from './metadata.ts'
import { type PartialAccess, PartialState } from './partial-state.ts'
import { readBytes } from './read.ts'
import { Room } from './room.ts'
import { writeAll } from './write.ts'

/** How long new bits and checkpoints may stay in memory only, in ms; what a crash loses of them is fetched again. */
const flushDelay = 200

const noStates = { from: Number.POSITIVE_INFINITY, to: 0 }

export interface PartialPaths {
  readonly data: string
  readonly state: string
}

interface PartialBlobOptions {
  readonly digest: Digest
  readonly paths: PartialPaths
  /** Bytes for which there is room, those that are on the disk among them. */
  readonly reserved: number
  /** Makes room for so many more bytes. @throws {StoreError} quota, no-space */
  readonly grow: (bytes: number) => Promise<void>
  /** Makes the bytes a blob of the store: durable, in its place, recorded. */
  readonly place: (facts: BlobFacts, checkpoints: Uint8Array | undefined) => Promise<void>
  /** It is over: what it took of the quota is `keptBytes` from now on. */
  readonly onEnd: (keptBytes: number) => void
}

/** A blob of which any quarters may be held: a file with holes, and a small file that says which ones. */
export class PartialBlob {
  readonly digest: Digest
  readonly #options: PartialBlobOptions
  readonly #file: FileHandle
  readonly #stateFile: FileHandle
  readonly #state: PartialState
  /** Quarters that an earlier process held; each counts once it was verified again. */
  readonly unverified: Bitfield
  /** What others write to the file by its number, which is another file's once this one is closed. */
  readonly #foreign = new Set<Promise<unknown>>()
  /** Who may have what an earlier fetch left; undefined where there is nothing of one. */
  readonly leftAccess: PartialAccess | undefined
  readonly #room: Room
  #flushing: Promise<void> = Promise.resolve()
  /** States that are not in the file yet. */
  #newStates = noStates
  #timer: NodeJS.Timeout | undefined
  #savingAccess: Promise<void> = Promise.resolve()
  /** Whether the file says that anybody may have what is private. */
  #isMislabelled = false
  #hasEnded = false

  private constructor(
    options: PartialBlobOptions,
    files: { readonly data: FileHandle; readonly state: FileHandle },
    state: PartialState,
    left: PartialState | undefined,
  ) {
    this.digest = options.digest
    this.#options = options
    this.#file = files.data
    this.#stateFile = files.state
    this.#state = state
    this.unverified = left?.held ?? new Bitfield(state.held.length)
    this.leftAccess = left?.access
    const { reserved, grow } = options
    this.#room = new Room({ size: state.size, there: this.unverified, reserved, grow })
  }

  /** Opens what is there for a blob of this size, or starts it anew. @throws {StoreError} no-space, io */
  static async open(options: PartialBlobOptions, size: number): Promise<PartialBlob> {
    const { data, state: statePath } = options.paths
    let dataFile: FileHandle | undefined
    let stateFile: FileHandle | undefined
    try {
      const before = await readFile(statePath).then(
        (bytes) => PartialState.decode(bytes, size),
        () => undefined,
      )
      const fresh = before === undefined ? constants.O_TRUNC : 0
      dataFile = await open(data, constants.O_RDWR | constants.O_CREAT | fresh, 0o644)
      stateFile = await open(statePath, constants.O_WRONLY | constants.O_CREAT | fresh, 0o644)
      const state = PartialState.empty(size)
      if (before !== undefined) {
        state.states.set(before.states)
        state.access = before.access
      }
      if (before === undefined) await writeAll(stateFile, state.encode(), 0)
      const files = { data: dataFile, state: stateFile }
      return new PartialBlob(options, files, state, before)
    } catch (error) {
      await dataFile?.close()
      await stateFile?.close()
      throw writeError(error)
    }
  }

  get size(): number {
    return this.#state.size
  }

  /** Quarters that are in the file and were verified; set by `hold` only. */
  get held(): Bitfield {
    return this.#state.held
  }

  /** The state before a quarter (1 to n-1) as an earlier process knew it. */
  knownState(index: number): Uint8Array | undefined {
    return this.#state.state(index)
  }

  /** Keeps a checkpoint for the next process. */
  saveState(index: number, state: Uint8Array): void {
    this.#state.setState(index, state)
    this.#noteStates(index, index + 1)
    this.#touch()
  }

  #noteStates(from: number, to: number): void {
    this.#newStates = { from: Math.min(this.#newStates.from, from), to: Math.max(this.#newStates.to, to) }
  }

  /**
   * Notes for the next process who may have the bytes. Private ones are to be written only when it returns.
   * @throws {StoreError} no-space, io, where the file can't say that they are private
   */
  async saveAccess(access: PartialAccess): Promise<void> {
    const before = this.#state.access
    const isSame = before.public === access.public && before.repositories.join() === access.repositories.join()
    if (!isSame && !this.#hasEnded) {
      this.#state.access = access
      const turnsPrivate = before.public && !access.public
      this.#savingAccess = this.#savingAccess.catch(() => {}).then(() => this.#writeAccess(turnsPrivate))
      this.#savingAccess.catch(() => {})
    }
    await this.#savingAccess
  }

  async #writeAccess(turnsPrivate: boolean): Promise<void> {
    const { bytes, position } = this.#state.encodeAccess()
    const isPrivate = !this.#state.access.public
    this.#isMislabelled ||= turnsPrivate
    try {
      await writeAll(this.#stateFile, bytes, position)
      await this.#stateFile.truncate(position + bytes.length)
      // Otherwise the disk might have private bytes before it has this.
      if (turnsPrivate) await this.#stateFile.datasync()
      if (isPrivate) this.#isMislabelled = false
    } catch (error) {
      // Bytes that are said to be private by mistake only cost a question.
      if (this.#isMislabelled) throw writeError(error)
    }
  }

  /** Writes bytes to their place. The memory may be used again when it returns. @throws {StoreError} no-space, io */
  async write(bytes: Uint8Array, position: number): Promise<void> {
    if (!this.#room.has(position)) await this.#room.make(position)
    await writeAll(this.#file, bytes, position)
  }

  /** As `write`, for one who has more to do with the bytes. What it throws is thrown where it is no failure to write. */
  at(position: number): FilePlace {
    return {
      write: (bytes) => this.write(bytes, position),
      writeBy: async (write) => {
        if (!this.#room.has(position)) await this.#room.make(position)
        return await this.#writeBy(() => write(this.#file.fd, position))
      },
    }
  }

  /** A quarter whose bytes were written is right. */
  hold(quarter: number): void {
    this.#state.held.set(quarter)
    this.unverified.clear(quarter)
    this.#touch()
  }

  /** Bytes that are held. */
  get heldBytes(): number {
    const last = this.held.length - 1
    const missing = this.held.has(last) ? quarterBytes - quarterLength(last, this.size) : 0
    return this.held.count * quarterBytes - missing
  }

  /** Bytes that the file has of it, at most: also of quarters that are still to be verified. */
  get fileBytes(): number {
    return Math.min(this.size, (this.held.count + this.unverified.count) * quarterBytes)
  }

  /** A quarter is not to be used any more. */
  drop(quarter: number): void {
    this.#state.held.clear(quarter)
    this.unverified.clear(quarter)
    this.#touch()
  }

  /** Bytes `start` to `end` inclusive, of quarters that were written. */
  read(start: number, end: number, signal: AbortSignal): AsyncIterable<Uint8Array> {
    return readBytes(this.#file, start, end, signal)
  }

  /** All quarters are held and proven: makes it a blob of the store. @throws {StoreError} no-space, io; it is kept then */
  async commit(facts: BlobFacts, checkpoints: Uint8Array | undefined): Promise<void> {
    await this.#settle()
    await this.#file.sync().catch((error: unknown) => {
      throw writeError(error)
    })
    await this.#options.place(facts, checkpoints)
    await unlink(this.#options.paths.state).catch(() => {})
    this.#end(0)
  }

  /** Leaves what is held for the next one who fetches the blob; does nothing after `commit` or `discard`. */
  async keep(): Promise<void> {
    if (this.#hasEnded) return
    await this.#settle()
    if (this.#isMislabelled || this.held.count + this.unverified.count === 0) return await this.discard()
    await this.#write().catch(() => {})
    this.#end((this.held.count + this.unverified.count) * (this.size / this.held.length))
  }

  /** Removes it. */
  async discard(): Promise<void> {
    if (this.#hasEnded) return
    await this.#settle()
    await unlink(this.#options.paths.state).catch(() => {})
    await unlink(this.#options.paths.data).catch(() => {})
    this.#end(0)
  }

  /** Closes the file, when nobody reads from it any more. */
  async close(): Promise<void> {
    await this.#settle()
    await Promise.allSettled(this.#foreign)
    await this.#file.close()
    await this.#stateFile.close()
  }

  async #writeBy<T>(write: () => Promise<T>): Promise<T> {
    const writing = write()
    this.#foreign.add(writing)
    try {
      return await writing
    } catch (error) {
      throw error instanceof WriteFailure ? writeError(error) : error
    } finally {
      this.#foreign.delete(writing)
    }
  }

  #end(keptBytes: number): void {
    this.#hasEnded = true
    this.#options.onEnd(Math.ceil(keptBytes))
  }

  #touch(): void {
    if (this.#hasEnded || this.#timer !== undefined) return
    this.#timer = setTimeout(() => {
      this.#timer = undefined
      this.#flushing = this.#flushing.then(() => this.#write()).catch(() => {})
    }, flushDelay)
  }

  async #settle(): Promise<void> {
    clearTimeout(this.#timer)
    this.#timer = undefined
    await this.#flushing
    await this.#savingAccess.catch(() => {})
  }

  /**
   * Writes over what is there. A crash may leave a mixture of old and new: bits that are wrong fail to verify, and so do quarters
   * whose state is missing.
   */
  async #write(): Promise<void> {
    const { from, to } = this.#newStates
    this.#newStates = noStates
    if (from < to) {
      const states = this.#state.encodeStates(from, to)
      await writeAll(this.#stateFile, states.bytes, states.position).catch((error: unknown) => {
        this.#noteStates(from, to)
        throw error
      })
    }
    // What is still to be verified is as good a hint as before.
    const left = this.unverified.encode()
    const bits = this.#state.encodeBits()
    const all = bits.bytes.map((byte, index) => byte | (left[index] ?? 0))
    await writeAll(this.#stateFile, all, bits.position)
  }
}
