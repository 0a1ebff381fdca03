import type { Digest } from '../../proxy/oci/digest.ts'
import { describedSizes } from '../../proxy/oci/image-blobs.ts'
import type { PeerId } from '../swarm/ports.ts'

/** Blobs whose size is remembered: those of some sixteen large images. */
const MAX_DESCRIBED = 4_096

/** Peers that told a wrong size and are remembered; the one that did so longest ago is forgotten. */
const MAX_LIARS = 1_024

/** How long such a peer is not believed about sizes, in ms. An honest one may have passed on what a liar said. */
const LIAR_MS = 10 * 60_000

/**
 * What this node knows of sizes before it asks anybody: what manifests say that clients got here, and whose word on a size was wrong.
 * It outlives the fetches that it comes from.
 */
export class ToldSizes {
  /** Bytes, the blob that was described longest ago first; undefined where manifests differ. */
  readonly #described = new Map<Digest, number | undefined>()
  /** Until when each is not believed, in ms of `performance.now()`. */
  readonly #liars = new Map<PeerId, number>()

  /**
   * A client gets a manifest. What it says of its blobs is what the client expects as well. Anybody can push one that says something false
   * of other people's blobs: where two differ, neither counts.
   */
  passes(manifest: Uint8Array): void {
    for (const [digest, size] of describedSizes(manifest)) {
      const isAgreed = !this.#described.has(digest) || this.#described.get(digest) === size
      this.#described.delete(digest)
      this.#described.set(digest, isAgreed ? size : undefined)
    }
    for (const oldest of this.#described.keys()) {
      if (this.#described.size <= MAX_DESCRIBED) break
      this.#described.delete(oldest)
    }
  }

  /** Bytes of a blob, as all manifests say; undefined where none was seen, or some differ. */
  of(digest: Digest): number | undefined {
    return this.#described.get(digest)
  }

  /** A peer told a size that turned out to be wrong. */
  refuted(peer: PeerId): void {
    this.#liars.delete(peer)
    this.#liars.set(peer, performance.now() + LIAR_MS)
    const [oldest] = this.#liars.keys()
    if (this.#liars.size > MAX_LIARS && oldest !== undefined) this.#liars.delete(oldest)
  }

  /** Whether a peer's word on a size counts as long as nobody else has said it. */
  isBelieved(peer: PeerId): boolean {
    return performance.now() >= (this.#liars.get(peer) ?? 0)
  }
}
