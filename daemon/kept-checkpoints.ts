import { algorithmOf, type Digest } from '../proxy/oci/digest.ts'
import type { BlobStore } from './store/blob-store.ts'
import { computeCheckpoints } from './verify/checkpoints.ts'
import { quarterCount } from './verify/quarter.ts'
import type { Sha256Engine } from './verify/sha256.ts'
import { stateBytes } from './verify/state.ts'

/**
 * The checkpoints of blobs that are held: kept since they were fetched, or computed once for those that came here in another
 * way, one after the other.
 */
export class KeptCheckpoints {
  readonly #store: BlobStore
  readonly #engine: Sha256Engine
  readonly #computing = new Map<Digest, Promise<Uint8Array | undefined>>()
  #queue: Promise<unknown> = Promise.resolve()
  readonly #stopped = new AbortController()

  constructor(store: BlobStore, engine: Sha256Engine) {
    this.#store = store
    this.#engine = engine
  }

  /** The inner states, 32 bytes each; undefined for sha512, and where the blob can't be read. */
  async of(digest: Digest): Promise<Uint8Array | undefined> {
    const record = this.#store.record(digest)
    if (record === undefined || algorithmOf(digest) !== 'sha256') return undefined
    const length = (quarterCount(record.size) - 1) * stateBytes
    if (length === 0) return new Uint8Array(0)
    const kept = await this.#store.checkpoints(digest)
    // An earlier version kept those of larger parts, which are fewer.
    if (kept?.length === length) return kept
    const running = this.#computing.get(digest)
    if (running !== undefined) return await running
    const computing = this.#queue.then(() => this.#compute(digest)).finally(() => this.#computing.delete(digest))
    this.#queue = computing.catch(() => {})
    this.#computing.set(digest, computing)
    return await computing
  }

  stop(): void {
    this.#stopped.abort(new Error('the node is stopping'))
  }

  async #compute(digest: Digest): Promise<Uint8Array | undefined> {
    const blob = await this.#store.openUntouched(digest)
    if (blob === undefined) return undefined
    try {
      const { size } = blob.record
      const body = blob.read(0, size - 1, this.#stopped.signal)
      const states = (await computeCheckpoints(this.#engine, digest, size, body)).encode()
      await this.#store.putCheckpoints(digest, states)
      return states
    } catch {
      // Damaged: the scrub, or whoever reads it, drops it.
      return undefined
    } finally {
      await blob.close()
    }
  }
}
