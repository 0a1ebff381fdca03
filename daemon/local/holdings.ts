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
   * Names content that the store has, in turn. @param store puts it there, if it is not
   * @returns false where it is not there
   */
  async add(digest: Digest, changes: readonly RecordChange[], put?: () => Promise<void>): Promise<boolean> {
    const { size } = this.#store.record(digest) ?? {}
    try {
      const isHeld = size !== undefined && (await this.#store.setKept(digest, true))
      if (!isHeld && put === undefined) return false
      if (!isHeld) await put?.()
      await this.#records.change(changes)
      return true
    } catch (error) {
      await this.#letGo(digest).catch(() => {})
      throw error
    }
  }

  /** Takes names away, in turn, and lets go of what has no other. */
  async remove(digest: Digest, changes: readonly RecordChange[]): Promise<void> {
    await this.#records.change(changes)
    await this.#letGo(digest)
  }

  /** What is of an upstream's repository as well stays, as what is fetched does. */
  async #letGo(digest: Digest): Promise<void> {
    const record = this.#store.record(digest)
    if (record?.kept !== true || this.#records.isUsed(digest)) return
    if (record.repositories.length > 0) await this.#store.setKept(digest, false)
    else await this.#store.remove(digest)
  }
}
