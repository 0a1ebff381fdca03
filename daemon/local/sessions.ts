import { randomUUID } from 'node:crypto'
import { Gate } from '../../proxy/gate.ts'
import type { Digest } from '../../proxy/oci/digest.ts'
import { OciError } from '../../proxy/oci/errors.ts'
import type { PushRequest, UploadChunk, UploadSessions, UploadState } from '../../proxy/ports.ts'
import type { BlobStore } from '../store/blob-store.ts'
import { Turns } from '../store/turns.ts'
import { type Upload, uploadLifetime } from '../store/uploads.ts'
import type { Sha256Engine } from '../verify/sha256.ts'
import { pushing } from './errors.ts'
import type { Holdings } from './holdings.ts'
import type { LocalRecords, RecordChange } from './records.ts'

/** Uploads that may be under way. Beyond them, those that their clients have left give way, or none is begun. */
const maxUploads = 1_000

/** After this time without a request, in ms, an upload may give way to others: those that have nothing first. */
const idleAfter = 600_000

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

interface Placing {
  readonly name: string
  readonly id: string
  readonly digest: Digest
  readonly signal: AbortSignal
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
    for (const id of records.uploads().keys()) if (store.uploads.get(id) === undefined) store.uploads.start(id)
  }

  async begin({ name }: PushRequest): Promise<UploadState> {
    const { store, records, holdings, newRepository } = this.#options
    return await pushing(async () => {
      await this.#makeRoom()
      const id = randomUUID()
      store.uploads.start(id)
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
        const { engine } = this.#options
        await this.#orEnd(name, id, () => upload.append(engine, chunk.body, chunk.length, signal))
      } finally {
        this.#cuts.delete(id)
        leave()
      }
      return { id, length: upload.length }
    })
  }

  async finish({ name, signal }: PushRequest, id: string, digest: Digest): Promise<void> {
    this.#find(name, id)
    await this.#inTurn(id, async () => {
      const upload = this.#find(name, id)
      await this.#orEnd(name, id, () => this.#place(upload, { name, id, digest, signal }))
    })
  }

  async cancel({ name }: PushRequest, id: string): Promise<void> {
    this.#find(name, id)
    await this.#inTurn(id, () => this.#end(name, id))
  }

  /** Ends uploads that their clients have left. */
  async prune(): Promise<void> {
    await this.#endIdle(uploadLifetime, () => true)
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

  /** Works with an upload. It is over where its bytes will never have the digest, or the disk has lost them. */
  async #orEnd<T>(name: string, id: string, work: () => Promise<T>): Promise<T> {
    try {
      return await pushing(work)
    } catch (error) {
      const isOver = error instanceof OciError && ['DIGEST_INVALID', 'BLOB_UPLOAD_UNKNOWN'].includes(error.code)
      if (isOver) await this.#end(name, id)
      throw error
    }
  }

  async #place(upload: Upload, { name, id, digest, signal }: Placing): Promise<void> {
    const { store, holdings, engine, newRepository } = this.#options
    const checkpoints = await upload.prove(engine, digest, signal)
    const put = () => store.putUpload(upload, digest, checkpoints?.length === 0 ? undefined : checkpoints)
    const blob = { kind: 'blob', name, id: digest, value: true } as const
    const over = { kind: 'upload', name, id } as const
    try {
      await holdings.inTurn(() => holdings.add(digest, put, [...newRepository(name), blob, over]))
    } catch (error) {
      upload.reclaim()
      throw error
    }
    await store.uploads.remove(id)
  }

  /** The file goes first, which gives its room back also where nothing can be written: a record alone is an upload that has nothing. */
  async #end(name: string, id: string): Promise<void> {
    const { store, records, holdings } = this.#options
    await store.uploads.remove(id)
    // What is left of it is taken away with those that are idle.
    await holdings.inTurn(() => records.change([{ kind: 'upload', name, id }])).catch(() => {})
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
    if (isFull()) await this.#endIdle(idleAfter, ({ length }) => length === 0)
    if (isFull()) await this.#endIdle(idleAfter, isFull)
    if (isFull()) {
      throw new OciError('DENIED', `${limit} uploads are under way at this node: finish or cancel some of them`)
    }
  }

  /** Ends those without a request for some time, in ms, which was longest ago first; and records of those that are gone. */
  async #endIdle(idle: number, isEnded: (upload: Upload) => boolean): Promise<void> {
    const { store, records } = this.#options
    const all = [...records.uploads()].map(([id, name]) => ({ id, name, upload: store.uploads.get(id) }))
    for (const { id, name, upload } of all.sort((a, b) => (a.upload?.usedAt ?? 0) - (b.upload?.usedAt ?? 0))) {
      const isIdle = upload === undefined || (this.#now() - upload.usedAt > idle && isEnded(upload))
      if (isIdle && !this.#turns.isTaken(id)) await this.#turns.take(id, () => this.#end(name, id))
    }
  }
}
