/** Clients of one node that read each blob in order: how long they waited. */
export class Clients {
  readonly #blobs: readonly { readonly has: Uint8Array; front: number; since: number; longest: number }[]
  #missing: number

  constructor(blobs: readonly number[]) {
    this.#blobs = blobs.map((chunks) => ({ has: new Uint8Array(chunks), front: 0, since: 0, longest: 0 }))
    this.#missing = blobs.reduce((sum, chunks) => sum + chunks, 0)
  }

  /** The longest time for which a client waited for its next chunk, in ms. */
  get longestWait(): number {
    return Math.max(...this.#blobs.map(({ longest }) => longest))
  }

  start(now: number): void {
    for (const blob of this.#blobs) blob.since = now
  }

  /** A chunk is whole. @returns whether everything is */
  got(index: number, chunk: number, now: number): boolean {
    const blob = this.#blobs[index]
    if (blob === undefined || blob.has[chunk] === 1) return false
    blob.has[chunk] = 1
    this.#missing--
    if (chunk === blob.front) {
      blob.longest = Math.max(blob.longest, now - blob.since)
      blob.since = now
      while (blob.has[blob.front] === 1) blob.front++
    }
    return this.#missing === 0
  }
}
