import type { Digest } from '../../proxy/oci/digest.ts'

/** Blobs of a node that clients will probably ask for soon: those of some eight large images. */
const MAX_FORESEEN = 1_024

/** How long a client may take until it asks for a blob of an image whose manifest it got, in ms. */
const FORESEEN_MS = 60_000

/**
 * Bytes of checkpoints that are kept of what peers tell of such blobs. Those of an image of 10 GiB, as told by 12 peers; peers that
 * tell more are heard again when the blob is wanted.
 */
const MAX_HEARD_BYTES = 16 * 2 ** 20

/** Which blobs are foreseen, and for how long. One timer serves all. */
export class Foreseen {
  readonly #onPast: (digests: readonly Digest[]) => void
  /** Until when, in ms, and bytes of what was heard of it; the one foreseen longest ago first. */
  readonly #blobs = new Map<Digest, { readonly until: number; heard: number }>()
  #heard = 0
  #timer: NodeJS.Timeout | undefined

  /** @param onPast told of blobs that are foreseen no more, because nobody asked for them, or newer ones took their room */
  constructor(onPast: (digests: readonly Digest[]) => void) {
    this.#onPast = onPast
  }

  get size(): number {
    return this.#blobs.size
  }

  /** Clients will probably ask for these soon, or are expected to for longer. */
  add(digests: Iterable<Digest>): void {
    const until = performance.now() + FORESEEN_MS
    for (const digest of digests) {
      const heard = this.#blobs.get(digest)?.heard ?? 0
      this.#blobs.delete(digest)
      this.#blobs.set(digest, { until, heard })
    }
    const past = [...this.#blobs.keys()].slice(0, Math.max(0, this.#blobs.size - MAX_FORESEEN))
    this.#drop(past)
    this.#schedule()
  }

  /** It is asked for now, or given up. */
  delete(digest: Digest): void {
    this.#heard -= this.#blobs.get(digest)?.heard ?? 0
    this.#blobs.delete(digest)
  }

  /** Bytes are to be kept of what was heard of a blob. @returns whether there is room for them */
  keep(digest: Digest, bytes: number): boolean {
    const blob = this.#blobs.get(digest)
    if (blob === undefined || this.#heard + bytes > MAX_HEARD_BYTES) return false
    blob.heard += bytes
    this.#heard += bytes
    return true
  }

  stop(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.#blobs.clear()
  }

  #drop(digests: readonly Digest[]): void {
    for (const digest of digests) this.delete(digest)
    if (digests.length > 0) this.#onPast(digests)
  }

  /** A timer that is too early costs a look. */
  #schedule(): void {
    const [first] = this.#blobs.values()
    if (first === undefined || this.#timer !== undefined) return
    this.#timer = setTimeout(() => this.#wake(), Math.max(1, Math.ceil(first.until - performance.now())))
  }

  #wake(): void {
    this.#timer = undefined
    const now = performance.now()
    const past: Digest[] = []
    for (const [digest, { until }] of this.#blobs) {
      if (until > now) break
      past.push(digest)
    }
    this.#drop(past)
    this.#schedule()
  }
}
