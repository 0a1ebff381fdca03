import type { Digest } from '../../proxy/oci/digest.ts'
import type { BlobStore } from '../store/blob-store.ts'
import type { LocalRecords, RecordChange } from './records.ts'
import { Turns } from './turns.ts'

/**
 * Content of local repositories and the store together: what a repository has is kept, and what none has any more is let go. All
 * changes happen here, one after the other, so that nothing is deleted in the moment in which it is named.
 */
export class Holdings {
  readonly #store: BlobStore
  readonly #records: LocalRecords
  readonly #turns = new Turns()

  constructor(store: BlobStore, records: LocalRecords) {
    this.#store = store
    this.#records = records
  }

  /** Lets go of what a process that was killed has kept for nobody. */
  async reconcile(): Promise<void> {
    for (const digest of this.#store.digests()) {
      if (this.#store.record(digest)?.kept === true && !this.#records.isUsed(digest)) await this.#letGo(digest)
    }
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
    await this.#records.change(changes)
    await this.#letGo(digest)
  }

  async #name(digest: Digest, changes: readonly RecordChange[]): Promise<void> {
    try {
      await this.#records.change(changes)
    } catch (error) {
      await this.#letGo(digest).catch(() => {})
      throw error
    }
  }

  /** What is of an upstream's repository as well stays, as what is fetched does. */
  async #letGo(digest: Digest): Promise<void> {
    const record = this.#store.record(digest)
    if (record?.kept !== true || this.#records.isUsed(digest)) return
    if (record.repositories.length > 0) await this.#store.setKept(digest, false)
    else await this.#store.remove(digest)
  }
}
