import { Level } from 'level'
import type { Digest } from '../../proxy/oci/digest.ts'
import { StoreError } from './errors.ts'

/** What is known of a blob on disk. */
export interface BlobRecord {
  /** Bytes. */
  readonly size: number
  /** What its sender called it; not covered by the digest. */
  readonly mediaType?: string | undefined
  /** Whether anybody may have it, because an upstream gave it without credentials. */
  readonly public: boolean
  /** `registry/repository` that it was found in, most recent last. */
  readonly repositories: readonly string[]
  /** Those of which it is known that anybody may have it there; undefined in records of earlier versions. */
  readonly publicIn?: readonly string[] | undefined
  /** ms since the epoch. */
  readonly createdAt: number
  readonly lastAccess: number
}

/** What is known of a blob besides its bytes. */
export type BlobFacts = Pick<BlobRecord, 'mediaType' | 'public'> & { readonly repository: string }

export interface TagRecord {
  readonly digest: Digest
  readonly mediaType?: string | undefined
  readonly size?: number | undefined
  readonly public: boolean
  /** Who asked upstream: an identity of `daemon/fetch/access.ts`. */
  readonly identity: string
  /** When upstream last gave this digest for the tag, in ms since the epoch. */
  readonly confirmedAt: number
}

type Db = Level<string, string>

/** classic-level's `sync` makes a write survive a power cut; it is missing from the types of `level`. */
const durable = { keyEncoding: 'utf8', sync: true } as const

/** Small records beside the blobs, in level under `meta/`. */
export class Metadata {
  readonly #db: Db
  readonly #blobs
  readonly #tags
  readonly #grants
  readonly #values
  readonly #checkpoints

  readonly #onLostWrite: (error: unknown) => void

  private constructor(db: Db, onLostWrite: (error: unknown) => void) {
    this.#db = db
    this.#onLostWrite = onLostWrite
    this.#blobs = db.sublevel<string, BlobRecord>('blobs', { valueEncoding: 'json' })
    this.#tags = db.sublevel<string, TagRecord>('tags', { valueEncoding: 'json' })
    this.#grants = db.sublevel<string, number>('grants', { valueEncoding: 'json' })
    this.#checkpoints = db.sublevel<string, Uint8Array>('checkpoints', { valueEncoding: 'view' })
    this.#values = db.sublevel<string, string>('values', { valueEncoding: 'utf8' })
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
    await this.#blobs.put(digest, record, durable)
  }

  /** Writes what was found out later of a blob. A full disk does not fail the request that found it out. */
  async putFacts(digest: Digest, record: BlobRecord): Promise<void> {
    await this.#blobs.put(digest, record).catch(this.#onLostWrite)
  }

  /** Writes records whose loss does not matter, such as new times of access. */
  async putBlobs(records: ReadonlyMap<Digest, BlobRecord>): Promise<void> {
    await this.#blobs.batch([...records].map(([key, value]) => ({ type: 'put' as const, key, value })))
  }

  async deleteBlob(digest: Digest): Promise<void> {
    await this.#blobs.del(digest)
    await this.#checkpoints.del(digest)
  }

  /** The checkpoints that a blob was proven along. */
  async checkpoints(digest: Digest): Promise<Uint8Array | undefined> {
    return this.#checkpoints.get(digest)
  }

  /** What is lost of them is computed again. */
  async putCheckpoints(digest: Digest, states: Uint8Array): Promise<void> {
    await this.#checkpoints.put(digest, states).catch(this.#onLostWrite)
  }

  async tag(reference: string): Promise<TagRecord | undefined> {
    return this.#tags.get(reference)
  }

  async putTag(reference: string, record: TagRecord): Promise<void> {
    await this.#tags.put(reference, record).catch(this.#onLostWrite)
  }

  /** Deletes tags by their `registry/repository:tag`. */
  async dropTags(isDropped: (reference: string) => boolean): Promise<void> {
    for await (const reference of this.#tags.keys()) if (isDropped(reference)) await this.#tags.del(reference)
  }

  /** When upstream last accepted an identity for a repository, in ms since the epoch. */
  async grant(key: string): Promise<number | undefined> {
    return this.#grants.get(key)
  }

  async putGrant(key: string, at: number): Promise<void> {
    await this.#grants.put(key, at).catch(this.#onLostWrite)
  }

  async deleteGrant(key: string): Promise<void> {
    await this.#grants.del(key).catch(this.#onLostWrite)
  }

  /** Deletes grants and tags from before the given times (ms since the epoch), so that neither grows for ever. */
  async prune(grantsBefore: number, tagsBefore: number): Promise<void> {
    for await (const [key, at] of this.#grants.iterator()) if (at < grantsBefore) await this.#grants.del(key)
    for await (const [key, tag] of this.#tags.iterator()) if (tag.confirmedAt < tagsBefore) await this.#tags.del(key)
  }

  /** A value that is made once and kept, such as a random key. */
  async value(name: string, make: () => string): Promise<string> {
    const kept = await this.#values.get(name)
    if (kept !== undefined) return kept
    const made = make()
    await this.#values.put(name, made, durable)
    return made
  }

  async close(): Promise<void> {
    await this.#db.close()
  }
}
