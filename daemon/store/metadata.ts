import type { Digest } from '../../proxy/oci/digest.ts'
import { isListName } from '../../proxy/oci/name.ts'
import { Database, durable } from './database.ts'
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

/** Small records beside the blobs, in level under `meta/`. */
export class Metadata {
  readonly #db: Database
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

  private constructor(db: Database) {
    this.#db = db
    this.#blobs = db.part<BlobRecord>('blobs', 'json')
    this.#tags = db.part<TagRecord>('tags', 'json')
    this.#lists = db.part<TagRecord>('lists', 'json')
    this.#referrers = db.part<number>('referrers', 'json')
    this.#grants = db.part<number>('grants', 'json')
    this.#checkpoints = db.part<Uint8Array>('checkpoints', 'view')
    this.#values = db.part<string>('values', 'utf8')
    this.#local = db.part<unknown>('local', 'json')
    this.#names = db.part<unknown>('names', 'json')
    db.onReopened(() => this.#writeLocalCopy())
  }

  /**
   * @param onLostWrite told of tags, grants and facts that could not be written: on a full disk, pulls go on without them
   * @throws {StoreError} locked, where another process has it open
   */
  static async open(folder: string, onLostWrite: (error: unknown) => void): Promise<Metadata> {
    return new Metadata(await Database.open(folder, onLostWrite))
  }

  async *blobs(): AsyncGenerator<[Digest, BlobRecord]> {
    for await (const [digest, record] of this.#blobs.iterator()) yield [digest as Digest, record]
  }

  /** Durable when it returns: without its record, a blob would be private to everybody after a crash. */
  async putBlob(digest: Digest, record: BlobRecord): Promise<void> {
    await this.#db.mustWrite(() => this.#blobs.put(digest, record, durable))
  }

  /** Writes what was found out later of a blob. A full disk does not fail the request that found it out. */
  async putFacts(digest: Digest, record: BlobRecord): Promise<void> {
    await this.#db.write(() => this.#blobs.put(digest, record))
  }

  /** Writes records whose loss does not matter, such as new times of access. */
  async putBlobs(records: ReadonlyMap<Digest, BlobRecord>): Promise<void> {
    const puts = [...records].map(([key, value]) => ({ type: 'put' as const, key, value }))
    await this.#db.mayWrite(() => this.#blobs.batch(puts))
  }

  async deleteBlob(digest: Digest): Promise<void> {
    await this.#db.mayWrite(() => this.#blobs.del(digest))
    await this.#db.mayWrite(() => this.#checkpoints.del(digest))
  }

  /** The checkpoints that a blob was proven along. */
  async checkpoints(digest: Digest): Promise<Uint8Array | undefined> {
    return await this.#db.read(() => this.#checkpoints.get(digest))
  }

  /** What is lost of them is computed again. */
  async putCheckpoints(digest: Digest, states: Uint8Array): Promise<void> {
    await this.#db.write(() => this.#checkpoints.put(digest, states))
  }

  /** A tag, or a list of a repository by its `listReference`. */
  async tag(reference: string): Promise<TagRecord | undefined> {
    return await this.#db.read(() => this.#namesLike(reference).get(reference))
  }

  /** All tags, by their `registry/repository:tag`. */
  async *tags(): AsyncGenerator<[reference: string, TagRecord]> {
    if (this.#db.isOpen) yield* this.#tags.iterator()
  }

  async putTag(reference: string, record: TagRecord): Promise<void> {
    await this.#db.write(() => this.#namesLike(reference).put(reference, record))
  }

  /** The tags of a `registry/repository` that are known, {@link maxTagsOf} at most. */
  async tagsOf(repository: string): Promise<readonly (readonly [tag: string, record: TagRecord])[]> {
    const range = { gt: `${repository}:`, lt: `${repository};`, limit: maxTagsOf }
    const found = (await this.#db.read(() => this.#tags.iterator(range).all())) ?? []
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
    await this.#db.write(() => this.#referrers.put(`${subject} ${referrer}`, at))
  }

  /** Manifests that were seen and refer to this one, {@link maxReferrersOf} at most. */
  async referrersOf(subject: Digest): Promise<readonly Digest[]> {
    const range = { gt: `${subject} `, lt: `${subject}!`, limit: maxReferrersOf }
    const found = (await this.#db.read(() => this.#referrers.keys(range).all())) ?? []
    return found.map((key) => key.slice(subject.length + 1) as Digest)
  }

  /** When upstream last accepted an identity for a repository, in ms since the epoch. */
  async grant(key: string): Promise<number | undefined> {
    return await this.#db.read(() => this.#grants.get(key))
  }

  async putGrant(key: string, at: number): Promise<void> {
    await this.#db.write(() => this.#grants.put(key, at))
  }

  async deleteGrant(key: string): Promise<void> {
    await this.#db.write(() => this.#grants.del(key))
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
    if (this.#isLocalStale) await this.reopen()
    await this.#db
      .mustWrite(() => this.#local.batch(batchOf(changes), durable))
      .catch((error: unknown) => {
        this.#isLocalStale = true
        throw error
      })
  }

  /** All that is kept of names that peers publish, and of who is trusted with them. */
  async names(): Promise<[key: string, value: unknown][]> {
    return await this.#names.iterator().all()
  }

  /** Changes entries of names, all or none of them; durable when it returns. @throws where that can't be */
  async changeNames(changes: readonly LocalChange[]): Promise<void> {
    await this.#db.mustWrite(() => this.#names.batch(batchOf(changes), durable))
  }

  /** The same for what peers tell again. */
  async noteNames(changes: readonly LocalChange[]): Promise<void> {
    await this.#db.write(() => this.#names.batch(batchOf(changes)))
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
    return this.#db.folder
  }

  /** As {@link Database.isLost}. */
  async isLost(): Promise<boolean> {
    return await this.#db.isLost()
  }

  /** As {@link Database.reopen}. @throws where that fails */
  async reopen(): Promise<void> {
    await this.#db.reopen()
  }

  async close(): Promise<void> {
    await this.#db.close()
  }

  /** What others have, too, is asked for again; nobody else has these entries. What fails is tried again before they are changed. */
  async #writeLocalCopy(): Promise<void> {
    this.#isLocalStale = true
    if (this.#localCopy !== undefined) {
      const copy = new Map(this.#localCopy())
      const puts = [...copy].map(([key, value]) => ({ type: 'put' as const, key, value }))
      const others = (await this.#local.keys().all()).filter((key) => !copy.has(key))
      const deletions = others.map((key) => ({ type: 'del' as const, key }))
      if (puts.length + deletions.length > 0)
        await this.#db.noted(() => this.#local.batch([...puts, ...deletions], durable))
    }
    this.#isLocalStale = false
  }

  #namesLike(reference: string) {
    return isListName(reference.slice(reference.lastIndexOf(':') + 1)) ? this.#lists : this.#tags
  }
}

function batchOf(changes: readonly LocalChange[]) {
  return changes.map(({ key, value }) =>
    value === undefined ? ({ type: 'del', key } as const) : ({ type: 'put', key, value } as const),
  )
}
