import type { Digest } from '../../proxy/oci/digest.ts'
import type { PeerId } from '../swarm/ports.ts'
import { Bitfield } from '../verify/bitfield.ts'
import { chunkCount, quarterBytes, quarterCount, quartersPerChunk } from '../verify/quarter.ts'
import type { FetchedBlob, LocalBlob } from './local-blob.ts'
import { OpenBlob } from './open-blob.ts'
import type { Event, NewBlob } from './plan/steps.ts'

/** A blob that takes part in the swarm here. */
export class SharedEntry {
  readonly digest: Digest
  /** Peers that this node speaks of it with. */
  readonly peers = new Set<PeerId>()
  /** Where its bytes and checkpoints are. */
  blob: LocalBlob
  /** The same, while it is being fetched. */
  fetched: FetchedBlob | undefined
  /** Peers must not know of it. */
  isAlone = false
  /** It is told anew: what was told of it before is taken back, and nobody is told that it is gone. */
  isRestarting = false
  /** The plan does not know it yet: it is looked for in the store. */
  isOpening = false
  /** A client will probably ask for it soon. */
  isForeseen = false
  /** When anything was said or given of it last, in ms of `performance.now()`. */
  usedAt = performance.now()
  #size: number | undefined
  #held: Bitfield | undefined
  readonly #file = new OpenBlob(() => this.blob.open())

  constructor(digest: Digest, blob: LocalBlob, fetched: FetchedBlob | undefined) {
    this.digest = digest
    this.blob = blob
    this.fetched = fetched
  }

  /** Bytes; undefined while nobody has told. */
  get size(): number | undefined {
    return this.#size
  }

  get chunks(): number | undefined {
    return this.#size === undefined ? undefined : chunkCount(this.#size)
  }

  get quarters(): number {
    return this.#held?.length ?? 0
  }

  /** The size is known; all that was held before is forgotten. */
  begin(size: number, held: Iterable<number>): void {
    this.#size = size
    this.#held = new Bitfield(quarterCount(size))
    for (const quarter of held) this.#held.set(quarter)
  }

  /** A quarter is held now. @returns whether that is new */
  hold(quarter: number): boolean {
    return this.#held?.set(quarter) ?? false
  }

  /** Whether a quarter is held; those that a shorter last chunk does not have are held with its last one. */
  has(quarter: number): boolean {
    if (this.#held !== undefined && quarter >= this.#held.length) return this.#held.has(this.#held.length - 1)
    return this.#held?.has(quarter) ?? false
  }

  /** As the plan is told of it. @param isWanted whether it is fetched now */
  planned(isWanted: boolean): NewBlob {
    return { blob: this.digest, chunks: this.chunks, held: this.wholeChunks(), isWanted }
  }

  /** What tells the plan of chunks that are held in part, from their first quarter on. */
  partsHeld(): Event[] {
    const blob = this.digest
    const events: Event[] = []
    for (let chunk = 0; chunk < (this.chunks ?? 0); chunk++) {
      if (this.#isWhole(chunk)) continue
      for (let quarter = 0; this.has(chunk * quartersPerChunk + quarter); quarter++)
        events.push({ kind: 'read', blob, chunk, quarter })
    }
    return events
  }

  /** Chunks of which all quarters are held. */
  wholeChunks(): number[] {
    const whole: number[] = []
    for (let chunk = 0; chunk < (this.chunks ?? 0); chunk++) if (this.#isWhole(chunk)) whole.push(chunk)
    return whole
  }

  #isWhole(chunk: number): boolean {
    const end = (chunk + 1) * quartersPerChunk
    for (let quarter = chunk * quartersPerChunk; quarter < end; quarter++) if (!this.has(quarter)) return false
    return true
  }

  /** Whether a chunk can be verified: its first quarter, or all of it. */
  isVerifiable(chunk: number, isWhole: boolean): boolean {
    const { known, isComplete } = this.blob.list
    if (chunk >= (this.chunks ?? 0)) return false
    return isComplete || known >= chunk * quartersPerChunk + (isWhole ? quartersPerChunk : 1)
  }

  /** Whether it is whole here, and only given to peers. */
  get isStored(): boolean {
    return this.fetched === undefined && !this.isOpening && this.#size !== undefined
  }

  /** Its bytes are elsewhere from now on. */
  moveTo(blob: LocalBlob): void {
    this.blob = blob
    this.close().catch(() => {})
  }

  /** Reads a quarter into a buffer. @throws {NotShared} where peers can't have it any more @throws {Error} where it can't be read */
  async read(quarter: number, buffer: Buffer, signal: AbortSignal): Promise<Buffer> {
    return await this.#file.use(async (shared) => {
      const start = quarter * quarterBytes
      const end = Math.min(start + quarterBytes, shared.size) - 1
      let length = 0
      for await (const bytes of shared.read(start, end, signal)) {
        buffer.set(bytes, length)
        length += bytes.length
      }
      if (length !== end + 1 - start) throw new Error('it is shorter than it was')
      return buffer.subarray(0, length)
    }, signal)
  }

  /** Lets go of the file. Resolves when it is closed, which waits for whoever reads it now. */
  async close(): Promise<void> {
    await this.#file.close()
  }
}
