import { createHash, randomUUID } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { type Digest, digestFrom, finishDigest } from '../../proxy/oci/digest.ts'
import { maxManifestBytes } from '../../proxy/oci/manifest.ts'
import { BadArchive } from '../archive/errors.ts'
import { type ArchiveEntry, shown } from '../archive/read.ts'
import type { BlobStore } from '../store/blob-store.ts'
import { readWhole } from '../store/read-whole.ts'
import type { Upload } from '../store/uploads.ts'
import { DigestMismatch } from '../verify/mismatch.ts'
import type { Sha256Engine } from '../verify/sha256.ts'
import { pushing } from './errors.ts'

/** A file of an archive that is on the disk, and is what its digest says. */
export interface StagedFile {
  readonly digest: Digest
  /** Bytes. */
  readonly size: number
  readonly upload: Upload
  readonly checkpoints: Uint8Array | undefined
  /** Its first bytes, which tell how it is compressed. */
  readonly head: Uint8Array
}

type StagingStore = Pick<BlobStore, 'uploads' | 'putUpload' | 'openUntouched'>

/** What an archive says of itself. */
const documents = ['index.json', 'manifest.json', 'oci-layout'] as const

/** Bytes that are read and are of no image: with more, it is not an image that is read. */
const maxForeignBytes = 2 ** 30

/** Links from one to the next. */
const maxLinks = 8

/** Bytes that tell how a file is compressed. */
const headBytes = 4

/**
 * The files of an archive that may be an image's, each hashed and written as it comes, as pushed blobs are: none of them is in memory,
 * and they count against the quota. They are nobody's until they are taken, and give way to nothing until the end; a process that is
 * killed leaves nothing of them.
 */
export class StagedFiles {
  readonly #store: StagingStore
  readonly #engine: Sha256Engine
  readonly #documents = new Map<string, Buffer>()
  readonly #files = new Map<Digest, StagedFile>()
  readonly #digests = new Map<string, Digest>()
  readonly #links = new Map<string, string>()
  readonly #ids = new Set<string>()
  readonly #taken = new Set<Digest>()
  #foreignBytes = 0

  constructor(store: StagingStore, engine: Sha256Engine) {
    this.#store = store
    this.#engine = engine
  }

  /** Takes what is of an image. @returns it, where it is a file that was not there yet @throws {BadArchive}, {OciError} */
  async take(entry: ArchiveEntry, signal: AbortSignal): Promise<StagedFile | undefined> {
    const { name, size, target } = entry
    if (target !== undefined) {
      this.#links.set(name, target)
      return undefined
    }
    if (documents.some((document) => document === name)) {
      this.#documents.set(name, await collect(entry))
      return undefined
    }
    const [, algorithm = '', hex = ''] = /^blobs\/([a-z0-9]+)\/([^/]+)$/.exec(name) ?? []
    const digest = digestFrom(algorithm, hex)
    if (digest === undefined && !/\.(?:tar|json)$/.test(name)) {
      this.#foreignBytes += size
      if (this.#foreignBytes > maxForeignBytes) throw new BadArchive('most of the archive is of no image')
      return undefined
    }
    if (digest !== undefined && this.#files.has(digest)) return undefined
    const file = await this.#stage(entry, digest, signal)
    this.#digests.set(name, file.digest)
    if (this.#files.has(file.digest)) return undefined
    this.#files.set(file.digest, file)
    return file
  }

  document(name: (typeof documents)[number]): Buffer | undefined {
    return this.#documents.get(name)
  }

  get(digest: Digest): StagedFile | undefined {
    return this.#files.get(digest)
  }

  /** The file of a name, which may be a link. @throws {BadArchive} where there is none */
  named(name: string): StagedFile {
    let at = name
    for (let links = 0; links <= maxLinks; links++) {
      const digest = this.#digests.get(at)
      const file = digest && this.#files.get(digest)
      if (file !== undefined) return file
      const next = this.#links.get(at)
      if (next === undefined) break
      at = next
    }
    throw new BadArchive(`the archive names ${shown(name)}, which is not in it`)
  }

  /** Reads a small file whole. @throws {BadArchive} where it is not small */
  async bytes({ digest, size, upload }: StagedFile): Promise<Uint8Array> {
    if (size > maxManifestBytes)
      throw new BadArchive(`${digest} has ${size} bytes: that is no manifest, and no configuration`)
    if (size === 0) return new Uint8Array()
    // One that is placed is a blob like any other, and may be deleted meanwhile; its upload is there until the end.
    return (this.#taken.has(digest) ? await readWhole(this.#store, digest) : undefined) ?? (await readFile(upload.path))
  }

  /** Makes a file a blob of the store, in which it is kept. @throws {StoreError} */
  async place(file: StagedFile): Promise<void> {
    await this.#store.putUpload(file.upload, file.digest, file.checkpoints)
    this.#taken.add(file.digest)
  }

  /** Whether a file was placed. */
  isTaken({ digest }: StagedFile): boolean {
    return this.#taken.has(digest)
  }

  /** Gives back what nobody has taken. */
  async end(): Promise<void> {
    for (const id of this.#ids) await this.#store.uploads.remove(id)
  }

  async #stage(entry: ArchiveEntry, digest: Digest | undefined, signal: AbortSignal): Promise<StagedFile> {
    const id = randomUUID()
    this.#ids.add(id)
    return await pushing(async () => {
      const upload = this.#store.uploads.start(id, true)
      const hash = digest === undefined ? createHash('sha256') : undefined
      let head = Buffer.alloc(0)
      const body = (async function* () {
        for await (const piece of entry.body) {
          signal.throwIfAborted()
          if (head.length < headBytes) head = Buffer.concat([head, piece.subarray(0, headBytes)]).subarray(0, headBytes)
          hash?.update(piece)
          yield piece
        }
      })()
      await upload.append(this.#engine, body, entry.size)
      const actual = digest ?? finishDigest('sha256', hash ?? createHash('sha256'))
      const checkpoints = await upload.prove(this.#engine, actual).catch((error: unknown) => {
        if (!(error instanceof DigestMismatch)) throw error
        throw new BadArchive(
          `the archive is damaged: ${shown(entry.name)} is not what its name says (${error.message})`,
        )
      })
      return {
        digest: actual,
        size: entry.size,
        upload,
        checkpoints: checkpoints?.length === 0 ? undefined : checkpoints,
        head,
      }
    })
  }
}

async function collect({ name, size, body }: ArchiveEntry): Promise<Buffer> {
  if (size > maxManifestBytes) throw new BadArchive(`the ${name} of the archive has ${size} bytes: that is too long`)
  const pieces: Uint8Array[] = []
  for await (const piece of body) pieces.push(piece)
  return Buffer.concat(pieces)
}
