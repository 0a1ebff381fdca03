import type { Digest } from '../../proxy/oci/digest.ts'
import type { BlobStore } from '../store/blob-store.ts'
import { Turns } from '../store/turns.ts'
import type { LocalRecords, RecordChange } from './records.ts'

/** Who tells peers of what repositories have. */
export interface HoldingsEvents {
  /** A repository has it now. */
  named(digest: Digest): void
  /** Whether peers may hear of it. */
  isShown(digest: Digest): boolean
  /** They may no longer; where it goes, it does after that. */
  hidden(digest: Digest): Promise<void>
}

/**
 * Content of local repositories and the store together: what a repository has is kept, and what none has any more is let go. All
 * changes happen here, one after the other, so that nothing is deleted in the moment in which it is named.
 */
export class Holdings {
  readonly #store: BlobStore
  readonly #records: LocalRecords
  readonly #events: HoldingsEvents | undefined
  readonly #turns = new Turns()

  constructor(store: BlobStore, records: LocalRecords, events?: HoldingsEvents) {
    this.#store = store
    this.#records = records
    this.#events = events
  }

  /**
   * Keeps what repositories have, and lets go of what a process that was killed has kept for nobody. Where there is no name at all, the
   * records were lost rather: then all stays.
   * @returns what stays without a name
   */
  async reconcile(): Promise<{ readonly blobs: number; readonly bytes: number }> {
    const isLost = this.#records.names().length === 0
    const nameless = { blobs: 0, bytes: 0 }
    for (const digest of this.#store.digests()) {
      const { kept = false, size = 0, repositories = [] } = this.#store.record(digest) ?? {}
      const isUsed = this.#records.isUsed(digest)
      if (isUsed && !kept) await this.#store.setKept(digest, true).catch(() => {})
      if (isUsed || !kept) continue
      // What a registry has as well was kept for a pin: it stays, and may be evicted.
      if (isLost && repositories.length === 0) {
        nameless.blobs++
        nameless.bytes += size
      } else await this.#letGo(digest)
    }
    return nameless
  }

  /** Works while nothing else changes. */
  async inTurn<T>(work: () => Promise<T>): Promise<T> {
    return await this.#turns.take('', work)
  }

  /**
   * Puts content into the store, to be kept, and names it, in turn. Where it is there already, it is put there anew: what the disk
   * has may be damaged.
   */
  async add(digest: Digest, put: () => Promise<void>, changes: readonly RecordChange[]): Promise<void> {
    await put()
    await this.#name(digest, changes)
  }

  /** Names content that the store has, in turn. @returns false where it is not there */
  async addHeld(digest: Digest, changes: readonly RecordChange[]): Promise<boolean> {
    if (!(await this.#store.setKept(digest, true))) return false
    await this.#name(digest, changes)
    return true
  }

  /** As {@link addHeld}, of several. */
  async keep(digests: readonly Digest[], changes: readonly RecordChange[]): Promise<boolean> {
    const kept: Digest[] = []
    let isHere = true
    try {
      for (const digest of digests) {
        isHere = await this.#store.setKept(digest, true)
        if (!isHere) break
        kept.push(digest)
      }
      if (isHere) await this.#records.change(changes)
    } finally {
      // Where it failed, nothing else may keep them.
      for (const digest of kept) await this.#letGo(digest)
    }
    return isHere
  }

  /** Takes names away, in turn, and lets go of what has no other. */
  async remove(digest: Digest, changes: readonly RecordChange[]): Promise<void> {
    await this.removeAll([digest], changes)
  }

  /** The same for several at once. */
  async removeAll(digests: readonly Digest[], changes: readonly RecordChange[]): Promise<void> {
    // Of what they never heard of, peers are not told that it is gone.
    const shown = new Set(digests.filter((digest) => this.#events?.isShown(digest) === true))
    await this.#records.change(changes)
    for (const digest of digests) {
      if (shown.has(digest) && this.#events?.isShown(digest) === false) await this.#events.hidden(digest)
      await this.#letGo(digest)
    }
  }

  async #name(digest: Digest, changes: readonly RecordChange[]): Promise<void> {
    try {
      await this.#records.change(changes)
    } catch (error) {
      await this.#letGo(digest).catch(() => {})
      throw error
    }
    this.#events?.named(digest)
  }

  /** What is of an upstream's repository as well stays, as what is fetched does. */
  async #letGo(digest: Digest): Promise<void> {
    const record = this.#store.record(digest)
    if (record?.kept !== true || this.#records.isUsed(digest)) return
    if (record.repositories.length > 0) await this.#store.setKept(digest, false)
    else await this.#store.remove(digest)
  }
}
