import type { Digest } from '../../proxy/oci/digest.ts'
import { OciError } from '../../proxy/oci/errors.ts'
import { pageOf } from '../../proxy/oci/page.ts'
import { annotationsOf } from '../../proxy/oci/pushed-manifest.ts'
import type {
  Content,
  ContentInfo,
  ContentRequest,
  ContentSource,
  ListRequest,
  ListSource,
  PassedOnResponse,
  ResolvedTag,
  TagRequest,
  TagResolver,
} from '../../proxy/ports.ts'
import type { BlobStore } from '../store/blob-store.ts'
import type { LocalRecords, ManifestRecord } from './records.ts'
import { unknown } from './registry.ts'

/** Bytes of one page of referrers: clients read a list as they read a manifest, of which registries take 4 MiB at least. */
const maxPageBytes = 3 * 1024 * 1024

/**
 * How long manifests of one list of referrers are waited for that others have, in ms: only their annotations are missing where they do
 * not come.
 */
const elsewhereLimit = 2_000

/** Referrers that are described at once. */
const atOnce = 32

/** What else is known of repositories than what was pushed to this node. */
export interface NamedElsewhere {
  /** All tags of a repository, those of this node among them as far as they still count. */
  tags(name: string): readonly string[]
  /** Manifests that refer to another one. */
  referrers(name: string, subject: Digest): readonly (readonly [Digest, ManifestRecord])[]
  /** The bytes of a manifest; undefined where they are not to be had at once. */
  manifest(name: string, digest: Digest, signal: AbortSignal): Promise<Uint8Array | undefined>
}

/** What was pushed to this node, for whoever pulls from it. Nobody else is asked, but for lists. */
export class LocalReads implements ContentSource, TagResolver, ListSource {
  readonly #store: BlobStore
  readonly #records: LocalRecords
  readonly #elsewhere: NamedElsewhere | undefined

  constructor(store: BlobStore, records: LocalRecords, elsewhere?: NamedElsewhere) {
    this.#store = store
    this.#records = records
    this.#elsewhere = elsewhere
  }

  async open(request: ContentRequest): Promise<Content> {
    const info = this.#infoOf(request)
    const blob = await this.#store.openBlob(request.digest)
    if (info === undefined || blob === undefined) {
      await blob?.close()
      throw this.#missing(request)
    }
    return {
      ...info,
      read: (start, end, signal) => blob.read(start, end ?? blob.record.size - 1, signal),
      close: () => blob.close(),
    }
  }

  async stat(request: ContentRequest): Promise<ContentInfo> {
    const info = this.#infoOf(request)
    if (info === undefined) throw this.#missing(request)
    return info
  }

  async held(request: ContentRequest): Promise<ContentInfo | undefined> {
    return this.#infoOf(request)
  }

  async resolve({ repository: { name }, tag }: TagRequest): Promise<ResolvedTag> {
    const repository = this.#records.get(name)
    const digest = repository?.tags.get(tag)
    const manifest = digest === undefined ? undefined : repository?.manifests.get(digest)
    if (digest === undefined || manifest === undefined) throw this.#unknownManifest(name, tag)
    const { mediaType, size } = manifest
    return { digest, mediaType, size }
  }

  async list({ repository: { name }, resource, query, signal }: ListRequest): Promise<PassedOnResponse> {
    const repository = this.#records.get(name)
    if (resource !== 'tags/list') {
      const subject = resource.slice(resource.indexOf('/') + 1) as Digest
      return await this.#referrers(name, subject, query, signal)
    }
    const tags = this.#elsewhere?.tags(name) ?? [...(repository?.tags.keys() ?? [])]
    if (repository === undefined && tags.length === 0)
      throw new OciError('NAME_UNKNOWN', `there is no local repository ${name}`)
    const { entries, next } = pageOf([...tags].sort(), query)
    const link = next === undefined ? {} : { link: `<?${next}>; rel="next"` }
    return answer('application/json', link, { name, tags: entries })
  }

  async #referrers(name: string, subject: Digest, query: string, signal: AbortSignal): Promise<PassedOnResponse> {
    const parameters = new URLSearchParams(query)
    const wanted = parameters.get('artifactType') ?? ''
    const last = parameters.get('last') ?? ''
    const elsewhere = this.#elsewhere?.referrers(name, subject) ?? []
    const found = [...new Map([...elsewhere, ...(this.#records.get(name)?.manifests ?? [])])]
      .filter(([, manifest]) => manifest.subject === subject)
      .filter(([digest, { artifactType }]) => (wanted === '' || artifactType === wanted) && digest > last)
      .sort(([a], [b]) => (a < b ? -1 : 1))
    const manifests: object[] = []
    const headers: Record<string, string> = wanted === '' ? {} : { 'oci-filters-applied': 'artifactType' }
    let bytes = 0
    const limited = AbortSignal.any([signal, AbortSignal.timeout(elsewhereLimit)])
    let described: object[] = []
    for (const [index] of found.entries()) {
      if (index % atOnce === 0) {
        const some = found.slice(index, index + atOnce)
        described = await Promise.all(
          some.map(([digest, record]) => this.#describe(name, digest, record, signal, limited)),
        )
      }
      const descriptor = described[index % atOnce] ?? {}
      bytes += JSON.stringify(descriptor).length
      const before = found[index - 1]?.[0]
      if (bytes > maxPageBytes && before !== undefined && manifests.length > 0) {
        const filter = wanted === '' ? '' : `artifactType=${encodeURIComponent(wanted)}&`
        headers.link = `<?${filter}last=${before}>; rel="next"`
        break
      }
      manifests.push(descriptor)
    }
    const index = { schemaVersion: 2, mediaType: indexType, manifests }
    return answer(indexType, headers, index)
  }

  /**
   * The descriptor of a referrer, which repeats its annotations (distribution-spec 1.1, "Listing Referrers").
   * @param limited for asking others
   */
  async #describe(
    name: string,
    digest: Digest,
    record: ManifestRecord,
    signal: AbortSignal,
    limited: AbortSignal,
  ): Promise<object> {
    const { mediaType, size, artifactType } = record
    const fromOthers = async () =>
      limited.aborted ? undefined : await this.#elsewhere?.manifest(name, digest, limited)
    const bytes = (await this.#read(digest, size, signal)) ?? (await fromOthers())
    return { mediaType, digest, size, artifactType, annotations: bytes && annotationsOf(bytes) }
  }

  async #read(digest: Digest, size: number, signal: AbortSignal): Promise<Buffer | undefined> {
    const blob = await this.#store.openUntouched(digest)
    if (blob === undefined) return undefined
    try {
      const pieces: Uint8Array[] = []
      for await (const piece of blob.read(0, size - 1, signal)) pieces.push(Uint8Array.from(piece))
      return Buffer.concat(pieces)
    } finally {
      await blob.close()
    }
  }

  #missing({ kind, digest, repository: { name } }: ContentRequest): OciError {
    return kind === 'blob' ? unknown('BLOB_UNKNOWN', name, digest) : this.#unknownManifest(name, digest)
  }

  /** Docker Engine shows the text to whoever has given it `localhost` as a mirror. */
  #unknownManifest(name: string, reference: string): OciError {
    if (this.#records.get(name) !== undefined) return unknown('MANIFEST_UNKNOWN', name, reference)
    const text = `nothing was pushed to this node as ${name}; as a mirror of docker.io it is called 127.0.0.1, not localhost`
    return new OciError('MANIFEST_UNKNOWN', text)
  }

  /** Undefined also where the disk has lost it, so that its client pushes it again. */
  #infoOf({ repository: { name }, kind, digest }: ContentRequest): ContentInfo | undefined {
    const repository = this.#records.get(name)
    const size = this.#store.record(digest)?.size
    if (size === undefined) return undefined
    if (kind === 'blob') return repository?.blobs.has(digest) === true ? { size, origin: 'store' } : undefined
    const manifest = repository?.manifests.get(digest)
    return manifest && { size, mediaType: manifest.mediaType, origin: 'store' }
  }
}

const indexType = 'application/vnd.oci.image.index.v1+json'

function answer(type: string, headers: Readonly<Record<string, string>>, body: object): PassedOnResponse {
  const bytes = Buffer.from(JSON.stringify(body))
  return { status: 200, headers: { 'content-type': type, ...headers }, body: bytes, origin: 'store' }
}
