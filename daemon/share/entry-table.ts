import type { Digest } from '../../proxy/oci/digest.ts'
import type { PeerId } from '../swarm/ports.ts'
import type { SharedEntry } from './entry.ts'
import type { Outbox } from './outbox.ts'
import type { Partners } from './partner.ts'
import type { BlobId } from './plan/messages.ts'
import type { Runner } from './runner.ts'

export interface EntryTableOptions {
  readonly runner: Runner
  readonly partners: Partners
  readonly outbox: Outbox
  /** How long a blob of the store takes part after anybody has spoken of it, in ms. */
  readonly keptMs: number
}

/** Above this number of blobs that take part, one of the store makes room for the next, or, where there is none, peers are refused. */
const MAX_ENTRIES = 4_096

/** Which blobs take part, and for how long. */
export class EntryTable {
  readonly #options: EntryTableOptions
  /** The one that was used longest ago first. */
  readonly #entries = new Map<Digest, SharedEntry>()
  readonly #timer: NodeJS.Timeout

  constructor(options: EntryTableOptions) {
    this.#options = options
    this.#timer = setInterval(() => this.#letGo(), options.keptMs / 4).unref()
  }

  get size(): number {
    return this.#entries.size
  }

  of(blob: BlobId): SharedEntry | undefined {
    return this.#entries.get(blob as Digest)
  }

  isCurrent(entry: SharedEntry): boolean {
    return this.#entries.get(entry.digest) === entry
  }

  add(entry: SharedEntry): void {
    this.#entries.set(entry.digest, entry)
  }

  /** An entry takes the place of the one for its blob. @returns peers of that one, which say again what they told it */
  replace(entry: SharedEntry): readonly PeerId[] {
    const before = this.#entries.get(entry.digest)
    const peers = before === undefined ? [] : [...before.peers]
    if (before?.isOpening === true) this.dismiss(before)
    else if (before !== undefined) this.remove(before)
    this.#entries.set(entry.digest, entry)
    return peers
  }

  /** Somebody has spoken of a blob, or is given some of it. */
  use(entry: SharedEntry): void {
    if (!this.isCurrent(entry)) return
    entry.usedAt = performance.now()
    this.#entries.delete(entry.digest)
    this.#entries.set(entry.digest, entry)
  }

  async close(): Promise<void> {
    clearInterval(this.#timer)
    await Promise.all([...this.#entries.values()].map((entry) => entry.close()))
  }

  /** A blob of the store that nobody has spoken of for long is told to be gone; whoever needs it asks for it again. */
  #letGo(): void {
    const before = performance.now() - this.#options.keptMs
    for (const entry of [...this.#entries.values()]) {
      if (entry.usedAt > before) return
      if (entry.isStored) this.remove(entry)
    }
  }

  /** Whether one more can take part. */
  hasRoom(): boolean {
    if (this.#entries.size < MAX_ENTRIES) return true
    const oldest = [...this.#entries.values()].find((entry) => entry.isStored)
    if (oldest !== undefined) this.remove(oldest)
    return oldest !== undefined
  }

  /** The plan does not know the blob: those who speak of it are told that it takes no part. */
  dismiss(entry: SharedEntry): void {
    this.#entries.delete(entry.digest)
    this.#refuse(entry)
  }

  /** It takes part no more: the plan and those who speak of it are told. */
  remove(entry: SharedEntry): void {
    this.#options.runner.step({ kind: 'drop', blob: entry.digest })
    this.forget(entry)
  }

  /** The same, for one that the plan does not know any more. */
  forget(entry: SharedEntry): void {
    this.#entries.delete(entry.digest)
    // Those who are no neighbours for it, but have spoken of it, and may be told of it.
    this.#refuse(entry)
    entry.close().catch(() => {})
  }

  #refuse(entry: SharedEntry): void {
    const { digest } = entry
    for (const [partner] of [...this.#options.partners.acquaintances(entry)]) {
      this.#options.outbox.refuse(partner.id, digest)
      partner.part(digest)
      partner.unname(digest)
    }
  }
}
