import { stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { Level } from 'level'
import type { Digest } from '../../proxy/oci/digest.ts'
import { isListName } from '../../proxy/oci/name.ts'
import { measureDisk } from './disk.ts'
import { StoreError } from './errors.ts'
import { isMissing } from './folders.ts'
import type { BlobRecord, TagRecord } from './record.ts'

export type { BlobFacts, BlobRecord, TagRecord } from './record.ts'

/** A change of entries; without a value, the entry is deleted. */
export interface LocalChange {
  readonly key: string
  readonly value?: unknown
}

/** The local registry's entries as they are to be. */
type LocalCopy = () => Iterable<readonly [key: string, value: unknown]>

/** Tags of one repository that are listed. */
const maxTagsOf = 10_000

/** Referrers of one manifest that are looked at, each of which has to be read. */
const maxReferrersOf = 256

type Db = Level<string, string>

/** classic-level's `sync` makes a write survive a power cut; it is missing from the types of `level`. */
const durable = { keyEncoding: 'utf8', sync: true } as const

/** Bytes that must be free before the database is closed to be opened anew. */
const reopenRoom = 256 * 1024

/** Small records beside the blobs, in level under `meta/`. */
export class Metadata {
  readonly #db: Db
  readonly #blobs
  readonly #tags
  /** Lists of repositories, which are known as tags are. */
  readonly #lists
  /** Manifests that refer to others, by the digest of those. */
  readonly #referrers
  readonly #grants
  readonly #values
  readonly #checkpoints
  readonly #local
  readonly #names
  /** Gives the local registry's entries by heart, once they were read. */
  #localCopy: LocalCopy | undefined
  /** What the database has of them may be something else: none, or a change that failed and that its log has all the same. */
  #isLocalStale = false

  readonly #onLostWrite: (error: unknown) => void
  /** Reads and writes wait for it. */
  #reopening: Promise<void> | undefined
  /** A write has failed: level refuses all others until it is opened anew, or loses what comes after it in its log. */
  #isDamaged = false

  private constructor(db: Db, onLostWrite: (error: unknown) => void) {
    this.#db = db
    this.#onLostWrite = (error) => {
      this.#isDamaged = true
      onLostWrite(error)
    }
    this.#blobs = db.sublevel<string, BlobRecord>('blobs', { valueEncoding: 'json' })
    this.#tags = db.sublevel<string, TagRecord>('tags', { valueEncoding: 'json' })
    this.#lists = db.sublevel<string, TagRecord>('lists', { valueEncoding: 'json' })
    this.#referrers = db.sublevel<string, number>('referrers', { valueEncoding: 'json' })
    this.#grants = db.sublevel<string, number>('grants', { valueEncoding: 'json' })
    this.#checkpoints = db.sublevel<string, Uint8Array>('checkpoints', { valueEncoding: 'view' })
    this.#values = db.sublevel<string, string>('values', { valueEncoding: 'utf8' })
    this.#local = db.sublevel<string, unknown>('local', { valueEncoding: 'json' })
    this.#names = db.sublevel<string, unknown>('names', { valueEncoding: 'json' })
  }

  /**
   * @param onLostWrite told of tags, grants and facts that could not be written: on a full disk, pulls go on without them
   * @throws {StoreError} locked, where another process has it open
   */
  static async open(folder: string, onLostWrite: (error: unknown) => void): Promise<Metadata> {
    const db: Db = new Level(folder)
    try {
      await db.open()
    } catch (error) {
      if ((error as { cause?: { code?: unknown } }).cause?.code === 'LEVEL_LOCKED') {
        throw new StoreError(
          'locked',
          `another layerd is running on this data directory (${folder} is locked): stop it, or give this one its own --data-dir`,
          { cause: error },
        )
      }
      throw error
    }
    return new Metadata(db, onLostWrite)
  }

  async *blobs(): AsyncGenerator<[Digest, BlobRecord]> {
    for await (const [digest, record] of this.#blobs.iterator()) yield [digest as Digest, record]
  }

  /** Durable when it returns: without its record, a blob would be private to everybody after a crash. */
  async putBlob(digest: Digest, record: BlobRecord): Promise<void> {
    await this.#reopening?.catch(() => {})
    if (this.#isDamaged) await this.reopen()
    await this.#noted(this.#blobs.put(digest, record, durable))
  }

  /** Writes what was found out later of a blob. A full disk does not fail the request that found it out. */
  async putFacts(digest: Digest, record: BlobRecord): Promise<void> {
    await this.#write(() => this.#blobs.put(digest, record))
  }

  /** Writes records whose loss does not matter, such as new times of access. */
  async putBlobs(records: ReadonlyMap<Digest, BlobRecord>): Promise<void> {
    await this.#reopening?.catch(() => {})
    const puts = [...records].map(([key, value]) => ({ type: 'put' as const, key, value }))
    await this.#noted(this.#blobs.batch(puts))
  }

  async deleteBlob(digest: Digest): Promise<void> {
    await this.#reopening?.catch(() => {})
    await this.#noted(this.#blobs.del(digest))
    await this.#noted(this.#checkpoints.del(digest))
  }

  /** The checkpoints that a blob was proven along. */
  async checkpoints(digest: Digest): Promise<Uint8Array | undefined> {
    return await this.#read(() => this.#checkpoints.get(digest))
  }

  /** What is lost of them is computed again. */
  async putCheckpoints(digest: Digest, states: Uint8Array): Promise<void> {
    await this.#write(() => this.#checkpoints.put(digest, states))
  }

  /** A tag, or a list of a repository by its `listReference`. */
  async tag(reference: string): Promise<TagRecord | undefined> {
    return await this.#read(() => this.#namesLike(reference).get(reference))
  }

  /** All tags, by their `registry/repository:tag`. */
  async *tags(): AsyncGenerator<[reference: string, TagRecord]> {
    if (this.#db.status === 'open') yield* this.#tags.iterator()
  }

  async putTag(reference: string, record: TagRecord): Promise<void> {
    await this.#write(() => this.#namesLike(reference).put(reference, record))
  }

  /** The tags of a `registry/repository` that are known, {@link maxTagsOf} at most. */
  async tagsOf(repository: string): Promise<readonly (readonly [tag: string, record: TagRecord])[]> {
    const range = { gt: `${repository}:`, lt: `${repository};`, limit: maxTagsOf }
    const found = (await this.#read(() => this.#tags.iterator(range).all())) ?? []
    return found.map(([reference, record]) => [reference.slice(repository.length + 1), record])
  }

  /** Deletes tags by their `registry/repository:tag`. */
  async dropTags(isDropped: (reference: string) => boolean): Promise<void> {
    for (const names of [this.#tags, this.#lists]) {
      for await (const reference of names.keys()) if (isDropped(reference)) await names.del(reference)
    }
  }

  /** Notes that a manifest refers to another one. @param at ms since the epoch */
  async putReferrer(subject: Digest, referrer: Digest, at: number): Promise<void> {
    await this.#write(() => this.#referrers.put(`${subject} ${referrer}`, at))
  }

  /** Manifests that were seen and refer to this one, {@link maxReferrersOf} at most. */
  async referrersOf(subject: Digest): Promise<readonly Digest[]> {
    const range = { gt: `${subject} `, lt: `${subject}!`, limit: maxReferrersOf }
    const found = (await this.#read(() => this.#referrers.keys(range).all())) ?? []
    return found.map((key) => key.slice(subject.length + 1) as Digest)
  }

  /** When upstream last accepted an identity for a repository, in ms since the epoch. */
  async grant(key: string): Promise<number | undefined> {
    return await this.#read(() => this.#grants.get(key))
  }

  async putGrant(key: string, at: number): Promise<void> {
    await this.#write(() => this.#grants.put(key, at))
  }

  async deleteGrant(key: string): Promise<void> {
    await this.#write(() => this.#grants.del(key))
  }

  /** Deletes grants and tags from before the given times (ms since the epoch), so that neither grows for ever. */
  async prune(grantsBefore: number, tagsBefore: number): Promise<void> {
    for await (const [key, at] of this.#grants.iterator()) if (at < grantsBefore) await this.#grants.del(key)
    for (const names of [this.#tags, this.#lists]) {
      for await (const [key, tag] of names.iterator()) if (tag.confirmedAt < tagsBefore) await names.del(key)
    }
    for await (const [key, at] of this.#referrers.iterator()) if (at < tagsBefore) await this.#referrers.del(key)
  }

  /**
   * All entries of the local registry.
   * @param copy gives them again where the database was removed under the running node, or a change of them has failed
   */
  async local(copy: LocalCopy): Promise<[key: string, value: unknown][]> {
    const entries = await this.#local.iterator().all()
    this.#localCopy = copy
    return entries
  }

  /** Changes entries of the local registry, all or none of them; durable when it returns. @throws where that can't be */
  async changeLocal(changes: readonly LocalChange[]): Promise<void> {
    await this.#reopening?.catch(() => {})
    if (this.#isDamaged || this.#isLocalStale) await this.reopen()
    await this.#noted(this.#local.batch(batchOf(changes), durable))
  }

  /** All that is kept of names that peers publish, and of who is trusted with them. */
  async names(): Promise<[key: string, value: unknown][]> {
    return await this.#names.iterator().all()
  }

  /** Changes entries of names, all or none of them; durable when it returns. @throws where that can't be */
  async changeNames(changes: readonly LocalChange[]): Promise<void> {
    await this.#reopening?.catch(() => {})
    if (this.#isDamaged) await this.reopen()
    await this.#noted(this.#names.batch(batchOf(changes), durable))
  }

  /** The same for what peers tell again. */
  async noteNames(changes: readonly LocalChange[]): Promise<void> {
    await this.#write(() => this.#names.batch(batchOf(changes)))
  }

  /** A value that is made once and kept, such as a random key. */
  async value(name: string, make: () => string): Promise<string> {
    const kept = await this.#values.get(name)
    if (kept !== undefined) return kept
    const made = make()
    await this.#values.put(name, made, durable)
    return made
  }

  get folder(): string {
    return this.#db.location
  }

  /** Whether its files were removed while it is open. It would go on without them, and be lost with the process. */
  async isLost(): Promise<boolean> {
    return await stat(join(this.folder, 'CURRENT')).then(() => false, isMissing)
  }

  /**
   * Opens it anew: after a write that failed, or where its files are gone. Reads and writes wait meanwhile.
   * @throws where that fails; until it is done, nothing is found in it
   */
  async reopen(): Promise<void> {
    this.#reopening ??= this.#reopenNow().finally(() => {
      this.#reopening = undefined
    })
    await this.#reopening
  }

  async close(): Promise<void> {
    await this.#reopening?.catch(() => {})
    await this.#db.close()
  }

  async #reopenNow(): Promise<void> {
    // On a full disk it could be closed and not opened again: it is better than none as it is.
    const { freeBytes, totalBytes } = await measureDisk(dirname(this.folder))
    if (totalBytes > 0 && freeBytes < reopenRoom)
      throw new StoreError('no-space', 'the disk of the data directory is full')
    this.#isLocalStale = true
    await this.#db.close()
    await this.#db.open()
    const parts = [
      this.#blobs,
      this.#tags,
      this.#lists,
      this.#referrers,
      this.#grants,
      this.#checkpoints,
      this.#values,
      this.#local,
      this.#names,
    ]
    for (const part of parts) await part.open()
    this.#isDamaged = false
    await this.#writeLocalCopy()
  }

  /** What others have, too, is asked for again; nobody else has these entries. What fails is tried again before they are changed. */
  async #writeLocalCopy(): Promise<void> {
    if (this.#localCopy !== undefined) {
      const copy = new Map(this.#localCopy())
      const puts = [...copy].map(([key, value]) => ({ type: 'put' as const, key, value }))
      const others = (await this.#local.keys().all()).filter((key) => !copy.has(key))
      const deletions = others.map((key) => ({ type: 'del' as const, key }))
      if (puts.length + deletions.length > 0) await this.#noted(this.#local.batch([...puts, ...deletions], durable))
    }
    this.#isLocalStale = false
  }

  /** Undefined where the database could not be opened anew: upstream is asked then. */
  async #read<T>(get: () => Promise<T | undefined>): Promise<T | undefined> {
    await this.#reopening?.catch(() => {})
    return this.#db.status === 'open' ? await get() : undefined
  }

  #namesLike(reference: string) {
    return isListName(reference.slice(reference.lastIndexOf(':') + 1)) ? this.#lists : this.#tags
  }

  async #noted(write: Promise<void>): Promise<void> {
    try {
      await write
    } catch (error) {
      this.#isDamaged = true
      throw error
    }
  }

  /** Writes what can be done without. */
  async #write(put: () => Promise<void>): Promise<void> {
    await this.#reopening?.catch(() => {})
    if (this.#isDamaged) await this.reopen().catch(() => {})
    await put().catch(this.#onLostWrite)
  }
}

function batchOf(changes: readonly LocalChange[]) {
  return changes.map(({ key, value }) =>
    value === undefined ? ({ type: 'del', key } as const) : ({ type: 'put', key, value } as const),
  )
}
