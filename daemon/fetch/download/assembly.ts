import type { PartialBlob } from '../../store/partial-blob.ts'
import type { PeerId } from '../../swarm/ports.ts'
import { Bitfield } from '../../verify/bitfield.ts'
import { firstDivergence } from '../../verify/check-chunk.ts'
import { type ClaimedCheckpoints, GrowingCheckpoints, Proof, type ProvenCheckpoints } from '../../verify/checkpoints.ts'
import { chunkBytes, chunkLength } from '../../verify/chunk.ts'
import type { Sha256Engine } from '../../verify/sha256.ts'
import { stateBytes } from '../../verify/state.ts'
import { inPieces } from './buffers.ts'
import { type ChunkFate, type ChunkWriter, Receiver } from './receiver.ts'

/**
 * Who said what a checkpoint is: a peer, or this node itself, which computed it from upstream's bytes; or it was left by an
 * earlier process, which did not note who said it.
 */
export type Author = PeerId | 'self' | 'left'

/** Bytes of chunks from one source, in order. */
interface Arriving {
  readonly body: AsyncIterable<Uint8Array>
  readonly first: number
  /** Whether they come from upstream: these extend the list, and are kept where there is no list yet to verify them. */
  readonly isUpstream: boolean
  readonly onBytes: (bytes: number) => void
  /** A chunk has come to its end. */
  readonly onChunk: (chunk: number, fate: ChunkFate) => void
}

/**
 * A blob that is being put together: its chunks on disk, and the list of checkpoints along which each was verified. Every
 * chunk that is held fits the current list; where the list is replaced, chunks that don't fit the new one are dropped.
 */
export class Assembly {
  readonly partial: PartialBlob
  readonly #engine: Sha256Engine
  #list: GrowingCheckpoints
  /** Of each state in the list. */
  #authors: Author[] = []
  /** Chunks of upstream in the file that the list does not reach yet: nobody but a client that asked for them may have them. */
  readonly raw: Bitfield
  readonly writers = new Map<number, ChunkWriter>()
  #proven: ProvenCheckpoints | undefined

  constructor(partial: PartialBlob, engine: Sha256Engine) {
    this.partial = partial
    this.#engine = engine
    this.#list = new GrowingCheckpoints(partial.digest, partial.size)
    this.raw = new Bitfield(partial.held.length)
    for (let index = 1; index < this.chunks; index++) {
      const state = partial.knownState(index)
      if (state === undefined) break
      this.#list.append(state)
      this.#authors.push('left')
    }
  }

  get size(): number {
    return this.partial.size
  }

  get chunks(): number {
    return this.#list.chunks
  }

  get held(): Bitfield {
    return this.partial.held
  }

  get list(): GrowingCheckpoints {
    return this.#list
  }

  /** Chunks below this can be verified. */
  get verifiable(): number {
    return this.isListComplete ? this.chunks : this.#list.known
  }

  get isListComplete(): boolean {
    return this.#list.known === this.chunks - 1
  }

  /** The list, once every chunk was verified along it: that is the SHA-256 of the whole. */
  get proven(): ProvenCheckpoints | undefined {
    return this.#proven
  }

  /** Who said the state after a chunk, or for the last chunk the one before it. */
  authorOf(chunk: number): Author | undefined {
    return this.#authors[Math.min(chunk, this.chunks - 2)]
  }

  /** Appends what goes on from the end of the list. */
  extend(states: Uint8Array, author: Author): void {
    const from = this.#list.known
    this.#list.append(states)
    for (let index = from + 1; index <= this.#list.known; index++) {
      this.#authors.push(author)
      const state = this.#list.stateAt(index)
      if (state !== undefined) this.partial.saveState(index, state)
    }
  }

  /** Puts another list in the place of this one from where they differ. @returns chunks that were dropped */
  replace(list: GrowingCheckpoints | ClaimedCheckpoints, author: Author): number[] {
    const common = firstDivergence(this.#list, list) ?? this.#list.known
    const dropped = this.truncate(common)
    const states = list.encode().subarray(this.#list.known * stateBytes)
    if (states.length > 0) this.extend(states, author)
    return dropped
  }

  /** Cuts off what somebody said, and all that comes after. @returns chunks that were dropped */
  cut(author: Author): number[] {
    const first = this.#authors.indexOf(author)
    return first === -1 ? [] : this.truncate(first)
  }

  /** Cuts the list to its first `known` states. @returns chunks that were dropped, because they fitted what is cut off */
  truncate(known: number): number[] {
    if (known >= this.#list.known) return []
    const kept = new GrowingCheckpoints(this.partial.digest, this.size)
    const states = this.#list.encode().subarray(0, known * stateBytes)
    if (states.length > 0) kept.append(states)
    this.#list = kept
    this.#authors = this.#authors.slice(0, known)
    const dropped = [...this.held.indexes()].filter((chunk) => chunk >= known)
    for (const chunk of dropped) this.partial.drop(chunk)
    return dropped
  }

  /**
   * Takes chunks as they arrive: each is written and hashed piece by piece, and judged when it is whole.
   * @throws {WrongChunk}, {DigestMismatch} for upstream's, or what the body or the store throws
   */
  async take(arriving: Arriving): Promise<void> {
    const { body, first, isUpstream, onBytes, onChunk } = arriving
    let receiver = new Receiver(this, this.#engine, first, isUpstream)
    const finish = async () => {
      const { chunk } = receiver
      onChunk(chunk, await receiver.finish())
      receiver = new Receiver(this, this.#engine, chunk + 1, isUpstream)
    }
    const push = async (piece: Buffer) => {
      await receiver.push(piece)
      if (receiver.isWhole) await finish()
    }
    try {
      await inPieces(body, chunkBytes, push, onBytes)
    } finally {
      receiver.abandon()
    }
  }

  /** An empty blob has one chunk, without a byte. @throws {WrongChunk} */
  async takeNothing(): Promise<void> {
    await new Receiver(this, this.#engine, 0, false).finish()
  }

  /** Verifies chunks in the file that were not: those an earlier process left, or raw ones that the list has reached. */
  async settle(kind: 'left' | 'raw', signal: AbortSignal, onChunk: (chunk: number) => void): Promise<void> {
    const candidates = kind === 'left' ? this.partial.unverified : this.raw
    for (const chunk of [...candidates.indexes()]) {
      if (chunk > this.#list.known && !this.isListComplete) return
      candidates.clear(chunk)
      const receiver = new Receiver(this, this.#engine, chunk, kind === 'raw')
      const start = chunk * chunkBytes
      try {
        for await (const bytes of this.partial.read(start, start + chunkLength(chunk, this.size) - 1, signal)) {
          await receiver.rehash(bytes)
        }
        if ((await receiver.finish()) === 'held') onChunk(chunk)
      } catch (error) {
        if (signal.aborted) throw error
        // What does not fit, or can't be read, is fetched again.
      }
    }
  }

  /** Whether the list has reached a raw chunk. */
  get canSettleRaw(): boolean {
    if (this.raw.count === 0) return false
    return (
      this.isListComplete ||
      this.raw.has(this.#list.known) ||
      [...this.raw.indexes()].some((chunk) => chunk < this.#list.known)
    )
  }

  keepRaw(chunk: number): void {
    this.raw.set(chunk)
  }

  /** A chunk fits. The last one that was missing proves the whole. */
  hold(chunk: number): void {
    this.raw.clear(chunk)
    this.partial.hold(chunk)
    const list = this.held.isFull ? this.#list.complete() : undefined
    if (list === undefined) return
    const proof = new Proof(list)
    for (let index = 0; index < this.chunks; index++) proof.fits(index)
    this.#proven = proof.proven()
  }
}
