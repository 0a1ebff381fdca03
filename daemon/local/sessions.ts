import { randomUUID } from 'node:crypto'
import { Gate } from '../../proxy/gate.ts'
import type { Digest } from '../../proxy/oci/digest.ts'
import { OciError } from '../../proxy/oci/errors.ts'
import type { PushRequest, UploadChunk, UploadSessions, UploadState } from '../../proxy/ports.ts'
import type { BlobStore } from '../store/blob-store.ts'
import { Turns } from '../store/turns.ts'
import type { Upload } from '../store/uploads.ts'
import type { Sha256Engine } from '../verify/sha256.ts'
import { pushing } from './errors.ts'
import type { Holdings } from './holdings.ts'
import type { LocalRecords, RecordChange } from './records.ts'

/** Uploads that may be under way. Beyond them, one that has nothing and is not new gives way, or none is begun. */
const maxUploads = 1_000

/** An upload that has nothing for so long, in ms, was left by its client. */
const emptyLifetime = 600_000

/** An upload to which nothing has come for so long, in ms, is over: a day, as for parts of blobs that are fetched. */
const lifetime = 24 * 3_600_000

/**
 * How long a request waits for the body of another one to the same upload, in ms, before that is cut: its client has begun anew,
 * and its old connection may look alive for minutes.
 */
const overtakeAfter = 3_000

/** Uploads that are written at the same time; each takes 2 MiB of memory. Others wait, and so do their clients. */
const maxWriters = 32

interface SessionsOptions {
  readonly store: BlobStore
  readonly records: LocalRecords
  readonly holdings: Holdings
  readonly engine: Sha256Engine
  /** Makes the record of a repository, where there is none. */
  readonly newRepository: (name: string) => readonly RecordChange[]
  readonly now?: () => number
  /** For tests. */
  readonly maxUploads?: number
}

/**
 * Uploads under way. They are files and records, so that a restart changes nothing for their clients; what was acknowledged is on
 * the disk. They end by themselves a day after their clients have left them.
 */
export class Sessions implements UploadSessions {
  readonly #options: SessionsOptions
  readonly #turns = new Turns()
  readonly #writers = new Gate(maxWriters)
  /** Ends the body that is written to an upload. */
  readonly #cuts = new Map<string, () => void>()
  readonly #now: () => number

  constructor(options: SessionsOptions) {
    this.#options = options
    this.#now = options.now ?? Date.now
  }

  /** Removes files without a record, of which no client knows. A record without a file is an upload that has nothing. */
  async reconcile(): Promise<void> {
    const { store, records } = this.#options
    for (const id of store.uploads.ids) if (!records.uploads().has(id)) await store.uploads.remove(id)
    for (const id of records.uploads().keys()) if (store.uploads.get(id) === undefined) await store.uploads.start(id)
  }

  async begin({ name }: PushRequest): Promise<UploadState> {
    const { store, records, holdings, newRepository } = this.#options
    return await pushing(async () => {
      await this.#makeRoom()
      const id = randomUUID()
      await store.uploads.start(id)
      try {
        const upload = { kind: 'upload', name, id, value: true } as const
        await holdings.inTurn(() => records.change([...newRepository(name), upload]))
      } catch (error) {
        await store.uploads.remove(id)
        throw error
      }
      return { id, length: 0 }
    })
  }

  state({ name }: PushRequest, id: string): UploadState {
    return { id, length: this.#find(name, id).length }
  }

  async append({ name, signal }: PushRequest, id: string, chunk: UploadChunk): Promise<UploadState | undefined> {
    this.#find(name, id)
    return await this.#inTurn(id, async () => {
      const upload = this.#find(name, id)
      if (chunk.start !== undefined && chunk.start !== upload.length) return undefined
      if (chunk.length === 0) return { id, length: upload.length }
      const leave = await this.#writers.enter(signal)
      this.#cuts.set(id, chunk.cut)
      try {
        await pushing(() => upload.append(this.#options.engine, chunk.body, chunk.length))
      } finally {
        this.#cuts.delete(id)
        leave()
      }
      return { id, length: upload.length }
    })
  }

  async finish({ name }: PushRequest, id: string, digest: Digest): Promise<void> {
    this.#find(name, id)
    await this.#inTurn(id, async () => {
      const upload = this.#find(name, id)
      try {
        await pushing(() => this.#place(upload, { name, id, digest }))
      } catch (error) {
        // Its bytes will never have that digest.
        if (error instanceof OciError && error.code === 'DIGEST_INVALID') await this.#end(name, id)
        throw error
      }
    })
  }

  async cancel({ name }: PushRequest, id: string): Promise<void> {
    this.#find(name, id)
    await this.#inTurn(id, () => this.#end(name, id))
  }

  /** Ends uploads that their clients have left. */
  async prune(): Promise<void> {
    await this.#endIdle(lifetime, () => true)
  }

  async #inTurn<T>(id: string, work: () => Promise<T>): Promise<T> {
    const timer = setTimeout(() => this.#cuts.get(id)?.(), overtakeAfter)
    try {
      return await this.#turns.take(id, async () => {
        clearTimeout(timer)
        return await work()
      })
    } finally {
      clearTimeout(timer)
    }
  }

  async #place(upload: Upload, { name, id, digest }: { name: string; id: string; digest: Digest }): Promise<void> {
    const { store, holdings, engine } = this.#options
    const checkpoints = await upload.prove(engine, digest)
    const blob = { kind: 'blob', name, id: digest, value: true } as const
    let isPlaced = false
    const put = async () => {
      await store.putUpload(upload, digest, checkpoints?.length === 0 ? undefined : checkpoints)
      isPlaced = true
    }
    try {
      await holdings.inTurn(() => holdings.add(digest, put, [blob, { kind: 'upload', name, id }]))
    } finally {
      // Its file is a blob's now, or was one.
      if (isPlaced) await store.uploads.remove(id)
    }
  }

  async #end(name: string, id: string): Promise<void> {
    const { store, records, holdings } = this.#options
    await pushing(() => holdings.inTurn(() => records.change([{ kind: 'upload', name, id }])))
    await store.uploads.remove(id)
  }

  /** @throws {OciError} BLOB_UPLOAD_UNKNOWN */
  #find(name: string, id: string): Upload {
    const { store, records } = this.#options
    const upload = records.uploads().get(id) === name ? store.uploads.get(id) : undefined
    if (upload !== undefined) return upload
    throw new OciError(
      'BLOB_UPLOAD_UNKNOWN',
      `there is no such upload to ${name}: it was finished, cancelled, or left for a day; begin it anew`,
    )
  }

  async #makeRoom(): Promise<void> {
    const limit = this.#options.maxUploads ?? maxUploads
    const isFull = () => this.#options.records.uploads().size >= limit
    if (isFull()) await this.#endIdle(emptyLifetime, ({ length }) => length === 0)
    if (isFull()) {
      throw new OciError('DENIED', `${limit} uploads are under way at this node: finish or cancel some of them`)
    }
  }

  async #endIdle(idle: number, isEnded: (upload: Upload) => boolean): Promise<void> {
    const { store, records } = this.#options
    for (const [id, name] of [...records.uploads()]) {
      const upload = store.uploads.get(id)
      const isIdle = upload === undefined || (this.#now() - upload.usedAt > idle && isEnded(upload))
      if (isIdle && !this.#turns.isTaken(id)) await this.#turns.take(id, () => this.#end(name, id))
    }
  }
}
