import type { PlannedBlob } from './blob.ts'
import type { Numbers } from './numbers.ts'
import { Took } from './took.ts'

interface Read {
  readonly blob: PlannedBlob
  readonly chunk: number
  /** When it was asked for, in ms. */
  readonly since: number
  /** Whether neighbours may bring it from the beginning, and not only when it is late. */
  readonly isRace: boolean
  isLate: boolean
}

/** Chunks that upstream was asked for, one of each blob. As with neighbours, what is late may come from elsewhere as well. */
export class Reads {
  readonly #reads = new Map<PlannedBlob, Read>()
  readonly #took: Took
  /** What the newest chunk took at least, in ms. */
  #newestMs = 0

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
    return Math.max(this.#took.limit, this.#newestMs)
  }

  /** What a chunk takes, in ms; 0 where that is not known. A line that has become slower shows with its first chunk. */
  get chunkMs(): number {
    return Math.max(this.#took.mean, this.#newestMs)
  }

  chunkOf(blob: PlannedBlob): number | undefined {
    return this.#reads.get(blob)?.chunk
  }

  /** @param isRace whether neighbours may bring the chunk from the beginning: it counts from whoever is faster */
  begin(blob: PlannedBlob, chunk: number, now: number, isRace: boolean): void {
    this.#reads.set(blob, { blob, chunk, since: now, isRace, isLate: false })
    if (!isRace) blob.comes(chunk)
  }

  /** The chunk has come. */
  came(blob: PlannedBlob, now: number): void {
    const read = this.#reads.get(blob)
    if (read !== undefined) {
      this.#newestMs = now - read.since
      this.#took.add(this.#newestMs)
    }
    this.end(blob)
  }

  /** A chunk is whole before upstream has brought it. If upstream was asked for it, it takes longer than until now. */
  beaten(blob: PlannedBlob, chunk: number, now: number): void {
    const read = this.#reads.get(blob)
    if (read?.chunk === chunk) this.#newestMs = Math.max(this.#newestMs, now - read.since)
  }

  /** It does not come, or has come. */
  end(blob: PlannedBlob): void {
    const read = this.#reads.get(blob)
    this.#reads.delete(blob)
    if (read !== undefined && !read.isLate && !read.isRace) blob.comesNot(read.chunk)
  }

  look(now: number): void {
    for (const read of this.#reads.values()) {
      if (read.isLate || now < read.since + this.limit) continue
      read.isLate = true
      if (!read.isRace) read.blob.comesNot(read.chunk)
    }
  }
}
