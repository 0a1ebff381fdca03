import type { Digest } from '../../proxy/oci/digest.ts'
import type { Repository } from '../../proxy/oci/name.ts'
import type { Descriptor } from '../../proxy/oci/pushed-manifest.ts'
import type { ContentOrigin, ContentSource } from '../../proxy/ports.ts'
import { ControlError } from '../control/operation.ts'
import { untilStored } from '../store/until-stored.ts'
import { chooseImage } from './choose.ts'
import { type ImageNames, nameText } from './names.ts'
import { blobsOf, type ImageNode } from './tree.ts'

interface PullOptions {
  readonly names: ImageNames
  readonly content: Pick<ContentSource, 'open' | 'held'>
  /** Whether the store has a blob. */
  readonly isStored: (digest: Digest) => boolean
}

interface PulledImage {
  /** As its user wrote it. */
  readonly image: string
  /** All where it is empty. */
  readonly platforms: readonly string[]
  /** As in {@link chooseImage}; false where it is left out. */
  readonly isPartEnough?: boolean | undefined
}

/** What a pull tells of a blob, and when it changes. */
interface LayerEvent {
  readonly event: 'layer'
  readonly digest: Digest
  /** Bytes of the whole. */
  readonly size: number
  /** Bytes that are here. */
  readonly bytes: number
  /** `unkept`: it came, and the store has no room for it, or a rule forbids it. */
  readonly state: 'held' | 'fetching' | 'done' | 'unkept'
  readonly source: ContentOrigin
  /** Since it was asked for, in ms. */
  readonly ms: number
}

interface ImageEvent {
  readonly event: 'image'
  readonly name: string
  readonly digest: Digest
  readonly platforms: readonly string[]
  readonly layers: readonly Descriptor[]
}

interface PullCall {
  readonly signal: AbortSignal
  send(event: LayerEvent | ImageEvent): Promise<void>
}

/** An image that is here. */
export interface Pulled {
  readonly name: string
  readonly digest: Digest
  readonly platforms: readonly string[]
  /** Bytes that were fetched for it. */
  readonly fetchedBytes: number
  /** Manifests of its index that nobody has. */
  readonly missing: readonly Digest[]
  readonly manifests: readonly ImageNode[]
}

/** Blobs that are fetched at the same time: more would only wait for each other. */
const maxFetches = 4

/** How often the progress of one blob is told, in ms. */
const tellInterval = 250

/**
 * Fetches an image, or those of its platforms that are asked for, into the store, as a client would.
 * @throws {OciError}, {ControlError} where it can't be had, or is not kept
 */
export async function pullImage(
  options: PullOptions,
  { image, platforms, isPartEnough = false }: PulledImage,
  call: PullCall,
): Promise<Pulled> {
  const { names } = options
  const name = names.parse(image)
  const digest = await names.resolve(name, call.signal)
  const chosen = await chooseImage(options, { name, digest, platforms, isPartEnough }, call.signal)
  const { manifests, platforms: found } = chosen
  const layers = blobsOf(manifests)
  await call.send({ event: 'image', name: nameText(name), digest, platforms: found, layers })
  const pull = new Pull(options, name.repository, call)
  await pull.all(layers)
  await Promise.all(manifests.map((one) => untilStored(options.isStored, one.digest, call.signal)))
  const unkept = [...manifests, ...layers].filter((one) => !options.isStored(one.digest))
  if (unkept.length > 0) {
    const reason = 'a rule forbids it (repositories.neverCache), or the store has no room: see "layerd status"'
    throw new ControlError(`${unkept.length} blobs of ${nameText(name)} came and are not kept: ${reason}`)
  }
  const missing = platforms.length === 0 ? manifests.flatMap((node) => node.missing) : []
  return { name: nameText(name), digest, platforms: found, fetchedBytes: pull.fetchedBytes, missing, manifests }
}

class Pull {
  readonly #options: PullOptions
  readonly #repository: Repository
  readonly #call: PullCall
  fetchedBytes = 0

  constructor(options: PullOptions, repository: Repository, call: PullCall) {
    this.#options = options
    this.#repository = repository
    this.#call = call
  }

  /** The first failure ends all. */
  async all(layers: readonly Descriptor[]): Promise<void> {
    const waiting = [...layers]
    const failed = new AbortController()
    const signal = AbortSignal.any([this.#call.signal, failed.signal])
    const work = async () => {
      for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
        signal.throwIfAborted()
        await this.#one(next, signal)
      }
    }
    const fetches = Array.from({ length: maxFetches }, () => work().catch((error: unknown) => failed.abort(error)))
    await Promise.all(fetches)
    signal.throwIfAborted()
  }

  async #one({ digest, size }: Descriptor, signal: AbortSignal): Promise<void> {
    const { content } = this.#options
    const request = { kind: 'blob', digest, repository: this.#repository, signal, isExact: true } as const
    const began = performance.now()
    const tell = (state: LayerEvent['state'], bytes: number, source: ContentOrigin) =>
      this.#call.send({ event: 'layer', digest, size, bytes, state, source, ms: Math.round(performance.now() - began) })
    if ((await content.held(request)) !== undefined) return await tell('held', size, 'store')
    const opened = await content.open(request)
    const source = opened.origin
    let bytes = 0
    let toldAt = 0
    try {
      for await (const piece of opened.read(0, undefined, signal)) {
        bytes += piece.length
        const now = performance.now()
        if (now - toldAt < tellInterval) continue
        toldAt = now
        await tell('fetching', bytes, source)
      }
    } finally {
      await opened.close()
    }
    this.fetchedBytes += bytes
    await tell((await untilStored(this.#options.isStored, digest, signal)) ? 'done' : 'unkept', bytes, source)
  }
}
