import type { Digest } from '../../proxy/oci/digest.ts'

/** A push that has asked for something counts as under way for so long, in ms: a layer of some GiB is uploaded within it. */
const lifetime = 600_000

/** Questions that are remembered; the oldest is forgotten first. */
const remembered = 8_192

/**
 * HEAD of digests in local repositories. Clients that push ask so what they may leave out; clients that pull don't ask so for blobs,
 * nor for the images of an index.
 */
export class Questions {
  readonly #at = new Map<string, number>()
  readonly #now: () => number

  constructor(now: () => number = () => performance.now()) {
    this.#now = now
  }

  note(repository: string, digest: Digest): void {
    const key = `${repository} ${digest}`
    this.#at.delete(key)
    this.#at.set(key, this.#now())
    const [oldest] = this.#at.keys()
    if (this.#at.size > remembered && oldest !== undefined) this.#at.delete(oldest)
  }

  /** Whether it was asked for lately. */
  has(repository: string, digest: Digest): boolean {
    const at = this.#at.get(`${repository} ${digest}`)
    return at !== undefined && this.#now() - at < lifetime
  }
}
