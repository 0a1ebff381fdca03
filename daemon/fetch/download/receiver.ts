import { algorithmOf, type Digest, digestFrom } from '../../../proxy/oci/digest.ts'
import type { PartialBlob } from '../../store/partial-blob.ts'
import type { Bitfield } from '../../verify/bitfield.ts'
import type { GrowingCheckpoints } from '../../verify/checkpoints.ts'
import { chunkBytes, chunkLength } from '../../verify/chunk.ts'
import { type Link, type LinkVerdict, linkOf, verdictOf } from '../../verify/link.ts'
import { DigestMismatch } from '../../verify/mismatch.ts'
import { ChunkHasher, type Sha256Engine } from '../../verify/sha256.ts'
import type { Sha256State } from '../../verify/state.ts'
import type { ChunkWriter, Writers } from './writers.ts'

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
 * - `dropped`: it was there before, or the list has changed meanwhile
 */
export type ChunkFate = 'held' | 'raw' | 'dropped'

/** What a receiver needs of the blob that is being put together. */
export interface ReceivingBlob {
  readonly partial: PartialBlob
  readonly list: GrowingCheckpoints
  /** Who writes which chunk: a second one to bring the same keeps it in memory until it has proven to fit. */
  readonly writers: Writers
  /** Chunks of upstream in the file that are not verified yet: clients may read them, so nobody writes there. */
  readonly raw: Bitfield
  extend(states: Uint8Array, author: 'self'): void
  truncate(known: number): void
  /** Upstream's chunk does not fit: cuts off what was said by others on the way, see {@link Assembly.contradict}. */
  contradict(chunk: number): 'before' | 'after' | 'nobody'
  hold(link: Link, isUpstream: boolean): void
  keepRaw(chunk: number): void
}

/** One chunk from one source: written and hashed as it arrives, judged when it is whole. */
export class Receiver {
  readonly chunk: number
  readonly #blob: ReceivingBlob
  readonly #isUpstream: boolean
  readonly #hasher: ChunkHasher | undefined
  readonly #writer: ChunkWriter = { isStopped: false, writing: Promise.resolve() }
  #memory: Buffer | undefined
  #length = 0
  /** A part was left out, because the chunk was there already. What comes after it is of no use without it. */
  #hasGap = false
  /** The bytes come from the file. */
  #isReread = false

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

  /** The next bytes; their memory may be used again when it returns or throws. @throws {StoreError} */
  async push(piece: Uint8Array): Promise<void> {
    const position = this.#length
    this.#length += piece.length
    this.#hasGap ||= this.#isThere
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

  /** As `push`, for bytes that are in the file already; nobody writes there unasked meanwhile. */
  async rehash(piece: Uint8Array): Promise<void> {
    if (!this.#isReread) this.#blob.writers.set(this.chunk, this.#writer)
    this.#isReread = true
    this.#length += piece.length
    await this.#hasher?.push(piece)
  }

  /** Judges the chunk. @throws {WrongChunk}, {DigestMismatch} */
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

  /** Whether the chunk is not needed any more. */
  get #isThere(): boolean {
    const { partial, raw, writers } = this.#blob
    return writers.isClosed || partial.held.has(this.chunk) || (raw.has(this.chunk) && !this.#isReread)
  }

  async #judge(): Promise<ChunkFate> {
    if (this.#hasGap || this.#isThere || this.#writer.isStopped) return 'dropped'
    const link = this.#hasher && (await linkOf(this.#hasher, this.chunk, this.#blob.partial.size))
    const verdict = this.#verdict(link)
    if (!this.#isUpstream && verdict === 'wrong') throw new WrongChunk(this.chunk)
    if (!this.#isUpstream && verdict !== 'fits') return 'dropped'
    if (!(await this.#toFile()) || this.#writer.isStopped) return 'dropped'
    return this.#settle(link)
  }

  #verdict(link: Link | undefined): LinkVerdict {
    return link === undefined ? 'unknown' : verdictOf(this.#blob.list, link)
  }

  /** The chunk is in the file. The list may have changed while it was written, so that counts which it is now. */
  #settle(link: Link | undefined): ChunkFate {
    const verdict = this.#verdict(link)
    if (link !== undefined && verdict === 'fits') return this.#hold(link)
    if (!this.#isUpstream) return 'dropped'
    return link === undefined || verdict === 'unknown' ? this.#keepRaw() : this.#goOnFromUpstream(link)
  }

  #hold(link: Link): ChunkFate {
    this.#blob.hold(link, this.#isUpstream)
    return 'held'
  }

  #keepRaw(): ChunkFate {
    this.#blob.keepRaw(this.chunk)
    return 'raw'
  }

  /** What upstream itself sends goes before what a peer says that it should be. @throws {DigestMismatch} */
  #goOnFromUpstream(link: Link): ChunkFate {
    const { partial, list } = this.#blob
    const cut = this.#verdict(link) === 'wrong' ? this.#blob.contradict(this.chunk) : 'after'
    if (cut === 'nobody' && this.chunk === list.chunks - 1) {
      throw new DigestMismatch(partial.digest, digestOfState(link.after, partial.digest))
    }
    if (cut === 'before') return this.#keepRaw()
    // Upstream contradicts itself: what it sent last is not what lies in the file.
    if (cut === 'nobody' && this.#isReread) return 'dropped'
    this.#blob.truncate(this.chunk)
    this.#blob.extend(link.after, 'self')
    return this.#hold(link)
  }

  /** Whether what is at this position of the chunk goes to the file: not while somebody else writes the chunk, or has begun to. */
  #mayWrite(position: number): boolean {
    const { writers } = this.#blob
    if (position === 0) {
      if (writers.has(this.chunk)) this.#memory = Buffer.allocUnsafeSlow(chunkBytes)
      else writers.set(this.chunk, this.#writer)
    }
    return this.#memory === undefined && !this.#writer.isStopped
  }

  /** What was kept in memory goes to the file, in the place of the one who was writing. @returns false: somebody was faster */
  async #toFile(): Promise<boolean> {
    const { writers } = this.#blob
    if (this.#memory === undefined) return true
    if (this.#isThere) return false
    const other = writers.get(this.chunk)
    if (other !== undefined) other.isStopped = true
    writers.set(this.chunk, this.#writer)
    // Whoever takes its place in turn waits for all of it: of two writes under way, the older one may be the last to land.
    this.#writer.writing = this.#writeAfter(other?.writing, this.#memory.subarray(0, this.#length))
    await this.#writer.writing
    return true
  }

  async #writeAfter(other: Promise<unknown> | undefined, bytes: Uint8Array): Promise<void> {
    await other?.catch(() => {})
    if (!this.#writer.isStopped) await this.#blob.partial.write(bytes, this.chunk * chunkBytes)
  }
}

function digestOfState(state: Sha256State, expected: Digest): Digest {
  return digestFrom(algorithmOf(expected), Buffer.from(state).toString('hex')) ?? expected
}
