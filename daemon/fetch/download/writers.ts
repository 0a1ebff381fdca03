/** The one who writes a quarter to the file, or reads it there to verify it. */
export interface QuarterWriter {
  /** Whether somebody else has taken its place. */
  isStopped: boolean
  /** Its last write, and those of others that it waits for. */
  writing: Promise<unknown>
}

/** Who writes which quarter of a blob at present: one at a time, so that the file has what was hashed. */
export class Writers extends Map<number, QuarterWriter> {
  #isClosed = false

  /** Nothing is written any more. */
  get isClosed(): boolean {
    return this.#isClosed
  }

  /** Ends all writing, so that another one may open the file; what still arrives is not written any more. */
  async close(): Promise<void> {
    this.#isClosed = true
    const writers = [...this.values()]
    for (const writer of writers) writer.isStopped = true
    await Promise.allSettled(writers.map(({ writing }) => writing))
  }
}
