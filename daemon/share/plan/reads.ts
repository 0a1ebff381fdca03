import type { PlannedBlob } from './blob.ts'
import type { Numbers } from './numbers.ts'
import { Took } from './took.ts'

interface Read {
  readonly blob: PlannedBlob
  readonly chunk: number
  /** When it was asked for, in ms. */
  readonly since: number
  isLate: boolean
}

/** Chunks that upstream was asked for, one of each blob. As with neighbours, what is late may come from elsewhere as well. */
export class Reads {
  readonly #reads = new Map<PlannedBlob, Read>()
  readonly #took: Took

  constructor(numbers: Numbers) {
    this.#took = new Took(numbers)
  }

  get size(): number {
    return this.#reads.size
  }

  /** Receiving places that they take: what is late takes none. */
  get places(): number {
    let inTime = 0
    for (const { isLate } of this.#reads.values()) if (!isLate) inTime++
    return inTime
  }

  /** When the next one is late, in ms. */
  get wakeAt(): number {
    let at = Number.POSITIVE_INFINITY
    for (const { isLate, since } of this.#reads.values()) if (!isLate) at = Math.min(at, since + this.limit)
    return at
  }

  /** A chunk that takes longer than this is late, in ms. */
  get limit(): number {
    return this.#took.limit
  }

  /** What a chunk takes, in ms; 0 where that is not known. */
  get mean(): number {
    return this.#took.mean
  }

  chunkOf(blob: PlannedBlob): number | undefined {
    return this.#reads.get(blob)?.chunk
  }

  begin(blob: PlannedBlob, chunk: number, now: number): void {
    this.#reads.set(blob, { blob, chunk, since: now, isLate: false })
    blob.comes(chunk)
  }

  /** The chunk has come. */
  came(blob: PlannedBlob, now: number): void {
    const read = this.#reads.get(blob)
    if (read !== undefined) this.#took.add(now - read.since)
    this.end(blob)
  }

  /** It does not come, or has come. */
  end(blob: PlannedBlob): void {
    const read = this.#reads.get(blob)
    this.#reads.delete(blob)
    if (read?.isLate === false) blob.comesNot(read.chunk)
  }

  look(now: number): void {
    for (const read of this.#reads.values()) {
      if (read.isLate || now < read.since + this.limit) continue
      read.isLate = true
      read.blob.comesNot(read.chunk)
    }
  }
}
