import { algorithmOf, type Digest, digestOf } from '../../proxy/oci/digest.ts'
import { OciError } from '../../proxy/oci/errors.ts'
import { type Repository, repositoryText } from '../../proxy/oci/name.ts'
import { type Descriptor, type PushedManifest, readPushedManifest } from '../../proxy/oci/pushed-manifest.ts'
import type { ContentSource, LocalNames, LocalRegistry, ManifestPush, PushRequest } from '../../proxy/ports.ts'
import { beginsWithRegistry, isGuarded, isMirrored } from '../../proxy/routes/addressing.ts'
import type { BlobStore } from '../store/blob-store.ts'
import { adopt } from './adopt.ts'
import { pushing } from './errors.ts'
import type { Holdings } from './holdings.ts'
import type { LocalRecords, LocalRepository, RecordChange } from './records.ts'

/** A repository without anything in it, such as after a push that was given up, is forgotten after so long, in ms. */
const emptyLifetime = 3_600_000

interface RegistryOptions {
  /** Its name in addresses. */
  readonly registry: string
  readonly store: BlobStore
  readonly records: LocalRecords
  readonly holdings: Holdings
  /** What is cached of upstream registries, for those who may have it. */
  readonly upstream: Pick<ContentSource, 'held'>
  readonly now?: () => number
}

/** The registry of this node itself: what was pushed to it, by name. */
export class OwnRegistry implements LocalRegistry, LocalNames {
  readonly registry: string
  readonly #options: RegistryOptions
  readonly #now: () => number

  constructor(options: RegistryOptions) {
    this.#options = options
    this.registry = options.registry
    this.#now = options.now ?? Date.now
  }

  /** A push that was given up takes no name. */
  has(name: string, reference?: string): boolean {
    const repository = this.#options.records.get(name)
    if (repository === undefined || repository.isHidden) return false
    return repository.manifests.size > 0 || repository.blobs.has(reference as Digest)
  }

  isBegun(name: string): boolean {
    return this.#options.records.get(name)?.isHidden === false
  }

  isHidden(name: string): boolean {
    return this.#options.records.get(name)?.isHidden === true
  }

  isHeld(repository: Repository): boolean {
    return this.#options.store.holdsOf(repositoryText(repository))
  }

  names(): readonly string[] {
    const { records } = this.#options
    const shown = records.names().filter((name) => !isEmpty(records.get(name)))
    return shown.map((name) => (this.isHidden(name) ? `${this.registry}/${name}` : name)).sort()
  }

  /**
   * The record of a repository that is pushed to for the first time. Where mirrors ask docker.io for its bare name, or that would
   * name another registry, this one is found by its whole name only.
   * @param isChosen whether its user has given the name. Where only an archive says it, what mirrors could ask for is hidden, until its
   * user gives the same name. A push says it in its address
   */
  newRepository(name: string, isChosen?: boolean): readonly RecordChange[] {
    const { records } = this.#options
    const before = records.get(name)
    if (before !== undefined && (isChosen !== true || !before.isHidden)) return []
    const isTaken =
      beginsWithRegistry(name) || isGuarded(name, { isHeld: (one) => this.isHeld(one), isHidden: () => false })
    const isHidden = isTaken || (isChosen === false && isMirrored(name))
    if (before?.isHidden === isHidden) return []
    return [{ kind: 'repository', name, id: '', value: { createdAt: before?.createdAt ?? this.#now(), isHidden } }]
  }

  async mount(request: PushRequest, digest: Digest, from: Repository | undefined): Promise<boolean> {
    const { holdings } = this.#options
    const { name } = request
    if (!(await this.#mayMount(request, digest, from))) return false
    const blob = { kind: 'blob', name, id: digest, value: true } as const
    return await pushing(() => holdings.inTurn(() => holdings.addHeld(digest, [...this.newRepository(name), blob])))
  }

  async putManifest({ name }: PushRequest, push: ManifestPush) {
    const { bytes, contentType, digest: given, tags, isSparse = false } = push
    const digest = digestOf(bytes, given === undefined ? 'sha256' : algorithmOf(given))
    if (given !== undefined && digest !== given)
      throw new OciError('DIGEST_INVALID', `the manifest that came has the digest ${digest}, not ${given}`)
    const manifest = readPushedManifest(bytes, contentType)
    const { mediaType, subject, artifactType } = manifest
    await pushing(async () => {
      const { holdings } = this.#options
      await holdings.inTurn(async () => {
        const newRepository = (of: string) => this.newRepository(of)
        await adopt({ ...this.#options, registry: this.registry, newRepository }, name, manifest)
        this.#assertComplete(name, manifest, isSparse)
        const value = { mediaType, size: bytes.length, subject, artifactType }
        const changes: RecordChange[] = [
          ...this.newRepository(name),
          { kind: 'manifest', name, id: digest, value },
          ...tags.map((id) => ({ kind: 'tag', name, id, value: digest }) as const),
        ]
        await holdings.add(digest, () => this.#store(digest, bytes, mediaType), changes)
      })
    })
    return { digest, subject }
  }

  async deleteManifest({ name }: PushRequest, reference: Digest | { readonly tag: string }): Promise<void> {
    const { records, holdings } = this.#options
    await pushing(() =>
      holdings.inTurn(async () => {
        const repository = records.get(name)
        if (typeof reference !== 'string') {
          const { tag } = reference
          if (repository?.tags.has(tag) !== true) throw unknown('MANIFEST_UNKNOWN', name, tag)
          return await records.change([{ kind: 'tag', name, id: tag }])
        }
        if (repository?.manifests.has(reference) !== true) throw unknown('MANIFEST_UNKNOWN', name, reference)
        const tags = [...repository.tags].filter(([, digest]) => digest === reference)
        const untagged = tags.map(([id]) => ({ kind: 'tag', name, id }) as const)
        await holdings.remove(reference, [...untagged, { kind: 'manifest', name, id: reference }])
      }),
    )
  }

  async deleteBlob({ name }: PushRequest, digest: Digest): Promise<void> {
    const { records, holdings } = this.#options
    await pushing(() =>
      holdings.inTurn(async () => {
        if (records.get(name)?.blobs.has(digest) !== true) throw unknown('BLOB_UNKNOWN', name, digest)
        await holdings.remove(digest, [{ kind: 'blob', name, id: digest }])
      }),
    )
  }

  /** Forgets repositories that have nothing, so that their names are free again. */
  async prune(): Promise<void> {
    const { records, holdings } = this.#options
    await holdings.inTurn(async () => {
      const inUse = new Set(records.uploads().values())
      const old = records.names().filter((name) => {
        const repository = records.get(name)
        const age = this.#now() - (repository?.createdAt ?? 0)
        return isEmpty(repository) && age > emptyLifetime && !inUse.has(name)
      })
      await records.change(old.map((name) => ({ kind: 'repository', name, id: '' })))
    })
  }

  async #mayMount(request: PushRequest, digest: Digest, from: Repository | undefined): Promise<boolean> {
    const { records, store, upstream } = this.#options
    // Whoever may push here may read all that is here.
    if (from?.registry === this.registry) return records.get(from.name)?.blobs.has(digest) === true
    if (from === undefined && records.names().some((name) => records.get(name)?.blobs.has(digest) === true)) return true
    if (from === undefined) return store.record(digest)?.public === true
    const { authorization, isGuest, signal } = request
    const held = await upstream.held({ kind: 'blob', digest, repository: from, authorization, isGuest, signal })
    return held !== undefined
  }

  /** @throws {OciError} MANIFEST_BLOB_UNKNOWN, with all that is missing; MANIFEST_INVALID where a size is wrong */
  #assertComplete(name: string, { blobs, manifests, others }: PushedManifest, isSparse: boolean): void {
    const { records, store } = this.#options
    const repository = records.get(name)
    const lacks = (isNamed: boolean | undefined, { digest }: Descriptor) => isNamed !== true || !store.has(digest)
    const missing = [
      ...blobs.filter((one) => lacks(repository?.blobs.has(one.digest), one)),
      ...(isSparse ? [] : manifests.filter((one) => lacks(repository?.manifests.has(one.digest), one))),
      ...(isSparse
        ? []
        : others.filter((one) =>
            lacks(repository?.manifests.has(one.digest) || repository?.blobs.has(one.digest), one),
          )),
    ]
    if (missing.length > 0) {
      const digests = missing.map(({ digest }) => digest)
      const shown =
        digests.length > 3 ? `${digests.slice(0, 3).join(', ')} and ${digests.length - 3} more` : digests.join(', ')
      throw new OciError('MANIFEST_BLOB_UNKNOWN', `${name} has no ${shown}: push what a manifest names before it`, {
        detail: digests.slice(0, 100).map((digest) => ({ digest })),
      })
    }
    for (const { digest, size } of [...blobs, ...manifests, ...others]) {
      const actual = store.record(digest)?.size
      if (actual === size || (isSparse && actual === undefined)) continue
      throw new OciError('MANIFEST_INVALID', `the manifest says that ${digest} has ${size} bytes; it has ${actual}`)
    }
  }

  async #store(digest: Digest, bytes: Uint8Array, mediaType: string): Promise<void> {
    const staging = await this.#options.store.stage(digest, bytes.length, () => {})
    try {
      await staging.blob.write(bytes)
      await staging.blob.finish()
      await staging.commit({ mediaType, public: false, repository: undefined, kept: true })
    } catch (error) {
      await staging.abort()
      throw error
    } finally {
      await staging.blob.close()
    }
  }
}

function isEmpty(repository: LocalRepository | undefined): boolean {
  return repository === undefined || repository.manifests.size + repository.blobs.size + repository.tags.size === 0
}

/** What a client is told of something that a local repository does not have. */
export function unknown(code: 'MANIFEST_UNKNOWN' | 'BLOB_UNKNOWN', name: string, reference: string): OciError {
  return new OciError(code, `the local repository ${name} has no ${reference}`)
}
