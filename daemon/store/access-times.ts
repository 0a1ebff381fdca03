import type { Digest } from '../../proxy/oci/digest.ts'
import type { BlobIndex } from './blob-index.ts'
import type { BlobRecord, Metadata } from './metadata.ts'

/** How long a new time of access may stay in memory only, in ms. */
const flushInterval = 10_000

/** When blobs were last used: known at once, written now and then, as their loss does not matter. */
export class AccessTimes {
  readonly #index: BlobIndex
  readonly #metadata: Pick<Metadata, 'putBlobs'>
  readonly #changed = new Set<Digest>()
  readonly #timer: NodeJS.Timeout

  constructor(index: BlobIndex, metadata: Pick<Metadata, 'putBlobs'>) {
    this.#index = index
    this.#metadata = metadata
    this.#timer = setInterval(() => void this.flush().catch(() => {}), flushInterval)
    this.#timer.unref()
  }

  /** A blob is used. @param now in ms since the epoch */
  note(digest: Digest, now: number): void {
    this.#index.touch(digest, now)
    this.#changed.add(digest)
  }

  async flush(): Promise<void> {
    const records = new Map<Digest, BlobRecord>()
    for (const digest of this.#changed) {
      const record = this.#index.get(digest)
      if (record !== undefined) records.set(digest, record)
    }
    this.#changed.clear()
    if (records.size > 0) await this.#metadata.putBlobs(records)
  }

  /** Nothing is written any more but what is flushed. */
  stop(): void {
    clearInterval(this.#timer)
  }
}
