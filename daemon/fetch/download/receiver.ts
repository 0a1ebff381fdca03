import { algorithmOf, type Digest, digestFrom } from '../../../proxy/oci/digest.ts'
import type { PartialBlob } from '../../store/partial-blob.ts'
import type { Bitfield } from '../../verify/bitfield.ts'
import type { GrowingCheckpoints } from '../../verify/checkpoints.ts'
import { chunkBytes, chunkLength } from '../../verify/chunk.ts'
import { DigestMismatch } from '../../verify/mismatch.ts'
import { ChunkHasher, type Sha256Engine } from '../../verify/sha256.ts'
import { type Sha256State, sameState } from '../../verify/state.ts'

/** The bytes of a chunk do not fit the list. Either is wrong. */
export class WrongChunk extends Error {
  readonly chunk: number

  constructor(chunk: number) {
    super(`chunk ${chunk} does not fit the checkpoints`)
    this.name = 'WrongChunk'
    this.chunk = chunk
  }
}

/**
 * What became of a chunk:
 * - `held`: it fits, and is in the file
 * - `raw`: it is upstream's and in the file; the list does not reach it yet
 * - `dropped`: it was held before, or the list has changed meanwhile
 */
export type ChunkFate = 'held' | 'raw' | 'dropped'

/** The one who writes a chunk to the file. */
export interface ChunkWriter {
  isStopped: boolean
  writing: Promise<unknown>
}

/** What a receiver needs of the blob that is being put together. */
export interface ReceivingBlob {
  readonly partial: PartialBlob
  readonly list: GrowingCheckpoints
  /** Who writes which chunk: a second one to bring the same keeps it in memory until it has proven to fit. */
  readonly writers: Map<number, ChunkWriter>
  /** Chunks of upstream in the file that are not verified yet. */
  readonly raw: Bitfield
  extend(states: Uint8Array, author: 'self'): void
  truncate(known: number): void
  /** Upstream's chunk does not fit: cuts off what was said by others on the way, see {@link Assembly.contradict}. */
  contradict(chunk: number): 'before' | 'after' | 'nobody'
  hold(chunk: number, isUpstream: boolean): void
  keepRaw(chunk: number): void
}

/** Whether a chunk fits the list; `open` where that ends before it, `unknown` where it does not lead to it, or another way. */
type Fit = 'fits' | 'wrong' | 'open' | 'unknown'

/** One chunk from one source: written and hashed as it arrives, judged when it is whole. */
export class Receiver {
  readonly chunk: number
  readonly #blob: ReceivingBlob
  readonly #isUpstream: boolean
  readonly #hasher: ChunkHasher | undefined
  readonly #writer: ChunkWriter = { isStopped: false, writing: Promise.resolve() }
  #memory: Buffer | undefined
  #length = 0
  /** A part was left out, because the chunk was held already. */
  #hasGap = false

  constructor(blob: ReceivingBlob, engine: Sha256Engine, chunk: number, isUpstream: boolean) {
    this.chunk = chunk
    this.#blob = blob
    this.#isUpstream = isUpstream
    const before = chunk < blob.list.chunks ? blob.list.stateAt(chunk) : undefined
    this.#hasher = before === undefined ? undefined : new ChunkHasher(engine, before)
  }

  get isWhole(): boolean {
    return this.#length === chunkLength(this.chunk, this.#blob.partial.size)
  }

  /** The next bytes; their memory may be used again when it returns. @throws {StoreError} */
  async push(piece: Uint8Array): Promise<void> {
    const position = this.#length
    this.#length += piece.length
    this.#hasGap ||= this.#blob.partial.held.has(this.chunk)
    if (this.#hasGap) return
    if (!this.#mayWrite(position)) {
      this.#memory?.set(piece, position)
      await this.#hasher?.push(piece)
      return
    }
    const place = this.#blob.partial.at(this.chunk * chunkBytes + position)
    this.#writer.writing = this.#hasher === undefined ? place.write(piece) : this.#hasher.push(piece, place)
    await this.#writer.writing
  }

  /** As `push`, for bytes that are in the file already. */
  async rehash(piece: Uint8Array): Promise<void> {
    if (this.#length === 0) this.#blob.writers.set(this.chunk, this.#writer)
    this.#length += piece.length
    await this.#hasher?.push(piece)
  }

  /** Judges the chunk. @throws {WrongChunk} */
  async finish(): Promise<ChunkFate> {
    try {
      return await this.#judge()
    } finally {
      this.abandon()
    }
  }

  /** Lets go of the file; to be called where the chunk does not come to its end. */
  abandon(): void {
    if (this.#blob.writers.get(this.chunk) === this.#writer) this.#blob.writers.delete(this.chunk)
  }

  async #judge(): Promise<ChunkFate> {
    const { partial, list } = this.#blob
    if (partial.held.has(this.chunk) || this.#hasGap || this.#writer.isStopped) return 'dropped'
    const isLast = this.chunk === list.chunks - 1
    const state = isLast ? await this.#hasher?.digest(partial.size) : this.#hasher?.state()
    const fit = this.#fit(state)
    if (!this.#isUpstream && fit === 'wrong') throw new WrongChunk(this.chunk)
    if ((!this.#isUpstream && fit !== 'fits') || !(await this.#toFile())) return 'dropped'
    // The list may have changed while the chunk was written.
    const fitNow = this.#fit(state)
    if (fitNow === 'fits') return this.#hold()
    if (!this.#isUpstream) return 'dropped'
    return state === undefined || fitNow === 'unknown' ? this.#keepRaw() : this.#goOnFromUpstream(state, isLast)
  }

  #fit(state: Sha256State | undefined): Fit {
    const { list } = this.#blob
    const before = this.chunk < list.chunks ? list.stateAt(this.chunk) : undefined
    if (this.#hasher === undefined || state === undefined || before === undefined) return 'unknown'
    if (!sameState(before, this.#hasher.before)) return 'unknown'
    const after = list.stateAt(this.chunk + 1)
    if (after === undefined) return 'open'
    return sameState(state, after) ? 'fits' : 'wrong'
  }

  #hold(): ChunkFate {
    this.#blob.hold(this.chunk, this.#isUpstream)
    return 'held'
  }

  #keepRaw(): ChunkFate {
    this.#blob.keepRaw(this.chunk)
    return 'raw'
  }

  /** What upstream itself sends goes before what a peer says that it should be. @throws {DigestMismatch} */
  #goOnFromUpstream(state: Sha256State, isLast: boolean): ChunkFate {
    const { partial } = this.#blob
    const isWrong = this.#fit(state) === 'wrong'
    const cut = isWrong ? this.#blob.contradict(this.chunk) : 'after'
    if (cut === 'nobody' && isLast) throw new DigestMismatch(partial.digest, digestOfState(state, partial.digest))
    if (cut === 'before') return this.#keepRaw()
    this.#blob.truncate(this.chunk)
    this.#blob.extend(state, 'self')
    return this.#hold()
  }

  /** Whether what is at this position of the chunk goes to the file: not while somebody else writes the chunk, or has begun to. */
  #mayWrite(position: number): boolean {
    const { writers } = this.#blob
    if (position === 0) {
      if (writers.has(this.chunk) || this.#blob.raw.has(this.chunk)) this.#memory = Buffer.allocUnsafeSlow(chunkBytes)
      else writers.set(this.chunk, this.#writer)
    }
    return this.#memory === undefined && !this.#writer.isStopped
  }

  /** What was kept in memory goes to the file, in the place of the one who was writing. @returns false: somebody was faster */
  async #toFile(): Promise<boolean> {
    const { writers, partial } = this.#blob
    if (this.#memory === undefined) return !this.#writer.isStopped
    const other = writers.get(this.chunk)
    if (other !== undefined) other.isStopped = true
    writers.set(this.chunk, this.#writer)
    await other?.writing.catch(() => {})
    if (partial.held.has(this.chunk)) return false
    await partial.write(this.#memory.subarray(0, this.#length), this.chunk * chunkBytes)
    return !this.#writer.isStopped
  }
}

function digestOfState(state: Sha256State, expected: Digest): Digest {
  return digestFrom(algorithmOf(expected), Buffer.from(state).toString('hex')) ?? expected
}
