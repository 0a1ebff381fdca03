import type { Digest } from '../../proxy/oci/digest.ts'
import type { LocalChange, Metadata } from '../store/metadata.ts'

/** A repository that was pushed to. */
interface RepositoryRecord {
  /** ms since the epoch. */
  readonly createdAt: number
  /** Whether a bare name does not mean it, as that is a name of an upstream registry, too. */
  readonly isHidden: boolean
}

/** A manifest of a repository. */
export interface ManifestRecord {
  readonly mediaType: string
  /** Bytes. */
  readonly size: number
  /** The manifest that it refers to. */
  readonly subject?: Digest | undefined
  readonly artifactType?: string | undefined
}

/** A repository and all that is in it. */
export interface LocalRepository extends RepositoryRecord {
  readonly manifests: ReadonlyMap<Digest, ManifestRecord>
  readonly blobs: ReadonlySet<Digest>
  readonly tags: ReadonlyMap<string, Digest>
}

interface MutableRepository extends RepositoryRecord {
  readonly manifests: Map<Digest, ManifestRecord>
  readonly blobs: Set<Digest>
  readonly tags: Map<string, Digest>
}

/**
 * What an entry of a repository may be; `upload` is of an upload that is under way. A `pin` is of another registry's repository: what
 * its user wants to keep, by tag or digest.
 */
type Entry =
  | { readonly kind: 'manifest'; readonly id: Digest; readonly value?: ManifestRecord }
  | { readonly kind: 'blob'; readonly id: Digest; readonly value?: true }
  | { readonly kind: 'tag'; readonly id: string; readonly value?: Digest }
  | { readonly kind: 'upload'; readonly id: string; readonly value?: true }
  | { readonly kind: 'pin'; readonly id: string; readonly value?: readonly Digest[] }

/** An entry that is written, or without a value deleted; a `repository` of the name is made before its first entry. */
export type RecordChange = { readonly name: string } & (
  | Entry
  | { readonly kind: 'repository'; readonly id: ''; readonly value?: RepositoryRecord }
)

/**
 * What was pushed to this node, by name. It is small beside the blobs, and known by heart; what changes is durable before anybody
 * hears of it, and of one request all or nothing.
 */
export class LocalRecords {
  readonly #metadata: Pick<Metadata, 'changeLocal'>
  readonly #entries = new Map<string, unknown>()
  readonly #repositories = new Map<string, MutableRepository>()
  /** The repository of each upload. */
  readonly #uploads = new Map<string, string>()
  /** What is pinned, by repository and tag or digest. */
  readonly #pins = new Map<string, readonly Digest[]>()
  /** How often each repository, or a pin, has content, as a blob and as a manifest; what none has may go. */
  readonly #uses = new Map<Digest, Map<string, number>>()

  private constructor(metadata: Pick<Metadata, 'changeLocal'>) {
    this.#metadata = metadata
  }

  static async open(metadata: Pick<Metadata, 'local' | 'changeLocal'>): Promise<LocalRecords> {
    const records = new LocalRecords(metadata)
    for (const [key, value] of await metadata.local(() => records.#entries)) {
      const change = decode(key, value)
      // Repositories come before what is in them, in the order of their keys.
      if (change !== undefined) records.#apply(change)
    }
    return records
  }

  /** Names of repositories, sorted. */
  names(): string[] {
    return [...this.#repositories.keys()].sort()
  }

  get(name: string): LocalRepository | undefined {
    return this.#repositories.get(name)
  }

  /** Uploads, each with the name of its repository. */
  uploads(): ReadonlyMap<string, string> {
    return this.#uploads
  }

  /** What a pin keeps; undefined where there is none. */
  pinned(repository: string, reference: string): readonly Digest[] | undefined {
    return this.#pins.get(`${repository} ${reference}`)
  }

  /** Whether any pin keeps the content. */
  isPinned(digest: Digest): boolean {
    return this.#uses.get(digest)?.has(pins) === true
  }

  /** Tags and digests under which a repository's pins keep the content. */
  pinsOf(repository: string, digest: Digest): readonly string[] {
    const own = [...this.#pins].filter(([pin, digests]) => pin.startsWith(`${repository} `) && digests.includes(digest))
    return own.map(([pin]) => pin.slice(repository.length + 1))
  }

  /** Whether any repository has the content, as a blob or as a manifest, or any pin. */
  isUsed(digest: Digest): boolean {
    return this.#uses.has(digest)
  }

  /** Repositories that have the content. */
  placesOf(digest: Digest): readonly string[] {
    return [...(this.#uses.get(digest)?.keys() ?? [])].filter((place) => place !== pins)
  }

  /** Changes entries, all or none of them; durable when it returns. @throws {StoreError} or another error where that can't be */
  async change(changes: readonly RecordChange[]): Promise<void> {
    if (changes.length === 0) return
    await this.#metadata.changeLocal(changes.map(encode))
    for (const change of changes) this.#apply(change)
  }

  #apply(change: RecordChange): void {
    const { key, value } = encode(change)
    if (value === undefined) this.#entries.delete(key)
    else this.#entries.set(key, value)
    const { name, kind } = change
    if (kind === 'repository') {
      if (change.value === undefined) this.#repositories.delete(name)
      else {
        const before = this.#repositories.get(name) ?? { manifests: new Map(), blobs: new Set(), tags: new Map() }
        this.#repositories.set(name, { ...before, ...change.value })
      }
      return
    }
    if (kind === 'upload') {
      if (change.value === undefined) this.#uploads.delete(change.id)
      else this.#uploads.set(change.id, name)
      return
    }
    if (kind === 'pin') {
      const pin = `${name} ${change.id}`
      for (const digest of this.#pins.get(pin) ?? []) this.#use(digest, pins, -1)
      for (const digest of change.value ?? []) this.#use(digest, pins, 1)
      if (change.value === undefined) this.#pins.delete(pin)
      else this.#pins.set(pin, change.value)
      return
    }
    const repository = this.#repositories.get(name)
    if (repository === undefined) return
    if (kind === 'tag') {
      if (change.value === undefined) repository.tags.delete(change.id)
      else repository.tags.set(change.id, change.value)
      return
    }
    const { id: digest } = change
    const before = kind === 'blob' ? repository.blobs.has(digest) : repository.manifests.has(digest)
    if (kind === 'blob') {
      if (change.value === undefined) repository.blobs.delete(digest)
      else repository.blobs.add(digest)
    } else if (change.value === undefined) repository.manifests.delete(digest)
    else repository.manifests.set(digest, change.value)
    this.#use(digest, name, Number(change.value !== undefined) - Number(before))
  }

  #use(digest: Digest, name: string, more: number): void {
    const places = this.#uses.get(digest) ?? new Map<string, number>()
    const uses = (places.get(name) ?? 0) + more
    if (uses > 0) places.set(name, uses)
    else places.delete(name)
    if (places.size > 0) this.#uses.set(digest, places)
    else this.#uses.delete(digest)
  }
}

/** Stands for all pins among the places that content is in; no repository has that name. */
const pins = ''

/** Letters that stand for kinds in keys, in the order in which they are to be read. */
const letters = { repository: 'a', blob: 'b', manifest: 'm', pin: 'p', tag: 't', upload: 'u' } as const
const kinds = new Map(Object.entries(letters).map(([kind, letter]) => [letter, kind as keyof typeof letters]))

/** No name, tag or digest has a space. */
function encode({ name, kind, id, value }: RecordChange): LocalChange & { readonly key: string } {
  return { key: `${letters[kind]} ${name} ${id}`, value }
}

function decode(key: string, value: unknown): RecordChange | undefined {
  const [letter = '', name = '', id = ''] = key.split(' ')
  const kind = kinds.get(letter as 'a')
  return kind === undefined ? undefined : ({ name, kind, id, value } as RecordChange)
}
