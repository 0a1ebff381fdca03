import type { Digest } from '../../proxy/oci/digest.ts'
import { repositoryText } from '../../proxy/oci/name.ts'
import type { ContentRequest } from '../../proxy/ports.ts'
import type { Rules } from '../rules.ts'
import type { BlobStore } from '../store/blob-store.ts'
import type { BlobRecord } from '../store/metadata.ts'
import { type AccessControl, foundIn } from './access.ts'

interface SightingsOptions {
  readonly store: Pick<BlobStore, 'addFacts'>
  readonly access: Pick<AccessControl, 'confirm'>
  readonly rules: Pick<Rules, 'mayShare' | 'toStrangers'>
  /** Whether only known peers are in the swarm. */
  readonly isClosed: boolean
  /** Whether peers may have a blob on disk, as far as is known. */
  readonly isShared: (record: BlobRecord, digest: Digest) => boolean
}

/** Questions at the same time; beyond them, the next request for the blob asks. */
const maxQuestions = 16

/** How long upstream may take in all, in ms. */
const questionLimit = 30_000

/**
 * A public blob is given to whoever asks for it, in whatever repository. So when one that was only found in repositories that
 * are never shared is asked for in another one of the same registry, only upstream can say that it is there, too, and may be shared.
 * Another registry would have to give the bytes.
 */
export class Sightings {
  readonly #options: SightingsOptions
  readonly #asking = new Map<string, Promise<void>>()
  readonly #ended = new AbortController()

  constructor(options: SightingsOptions) {
    this.#options = options
  }

  /** A public blob on disk is given to a client. Does not wait for upstream. */
  given(request: ContentRequest, record: BlobRecord): void {
    const { isShared, rules, isClosed } = this.#options
    if (isShared(record, request.digest) || foundIn(request, record.repositories) !== 'registry') return
    const repository = repositoryText(request.repository)
    if (isClosed ? !rules.mayShare(repository) : rules.toStrangers(repository) === 'nothing') return
    const key = `${request.digest} ${repository}`
    if (this.#asking.has(key) || this.#asking.size >= maxQuestions) return
    const asking = this.#ask(request, repository).finally(() => this.#asking.delete(key))
    this.#asking.set(key, asking)
  }

  /** Ends all questions. */
  async close(): Promise<void> {
    this.#ended.abort(new Error('the node is stopping'))
    await Promise.all(this.#asking.values())
  }

  async #ask(request: ContentRequest, repository: string): Promise<void> {
    const { access, store } = this.#options
    const signal = AbortSignal.any([this.#ended.signal, AbortSignal.timeout(questionLimit)])
    try {
      const granted = await access.confirm({ ...request, signal })
      if (granted === 'foreign') return
      await store.addFacts(request.digest, { mediaType: undefined, public: granted === 'public', repository })
    } catch {
      // It stays unshared; the next request asks again.
    }
  }
}
