import { Gate } from '../gate.ts'
import { algorithmOf, type Digest, digestOf } from '../oci/digest.ts'
import { isManifestMediaType, manifestMediaType } from '../oci/manifest.ts'
import { contentLength, contentType, isWhole, statusError } from './answers.ts'
import { type ContentContext, type ContentRequest, openContent, readContent, tooLong } from './content.ts'
import { abortedError, TransientError } from './errors.ts'
import { codingsIn, digestHeader } from './examine.ts'
import { type HttpHeaders, readAll } from './exchange.ts'
import type { Habits } from './habits.ts'
import { Recent } from './recent.ts'
import type { RegistryResponse } from './request.ts'
import { isRefusedElsewhere } from './send.ts'
import { type UpstreamDescriptor, UpstreamError } from './types.ts'

/** A no to HEAD is believed in a repository for this time, in ms, after GET has said the same. */
const noLifetime = 60_000

/** Repositories in which such a no is remembered; the oldest are forgotten. */
const maxNoes = 1_000

/** Manifests that are read whole at the same time, to see what they are; each has 16 MiB at most. More wait. */
const maxReadings = 16

/** Asks what content is without fetching it, where that can be told. All methods throw {@link UpstreamError}. */
export class Inquiry {
  readonly #context: ContentContext
  /** Where GET has confirmed HEAD's no. */
  readonly #noes: Recent
  readonly #reading = new Gate(maxReadings)

  constructor(context: ContentContext) {
    this.#context = context
    this.#noes = new Recent(noLifetime, maxNoes, context.timing.now)
  }

  /** @param doubted what the tag was said to be, and could not be had as */
  manifest(content: ContentRequest, doubted?: Digest): Promise<UpstreamDescriptor> {
    if (doubted !== undefined) return this.#readDoubted(content, doubted)
    return this.#ask(
      content,
      (head) => manifestIn(head, content),
      (asked) => this.#readManifest(asked),
    )
  }

  blob(content: ContentRequest & { readonly digest: Digest }): Promise<UpstreamDescriptor> {
    const { digest } = content
    const byHead = ({ headers, access }: RegistryResponse) => {
      const size = sizeIn(headers, content)
      return size === undefined ? undefined : { digest, mediaType: contentType(headers), size, access }
    }
    return this.#ask(content, byHead, async (asked) => {
      const { response, size } = await openContent(this.#context, asked, 0)
      response.body.cancel()
      return { digest, mediaType: contentType(response.headers), size, access: response.access }
    })
  }

  /**
   * Asks by HEAD, which moves nothing, and by GET where HEAD says no or too little: some registries and proxies know GET only.
   * Where GET has said the same as HEAD in a repository, HEAD is believed for a while.
   */
  async #ask(
    content: ContentRequest,
    byHead: (head: RegistryResponse) => UpstreamDescriptor | undefined,
    byGet: (content: ContentRequest) => Promise<UpstreamDescriptor>,
  ): Promise<UpstreamDescriptor> {
    const { registry, repository, requestor } = content
    if (registry.habits.has('wrong-heads')) return byGet(content)
    const wasSilent = registry.breaker.isSilent
    const key = `${registry.name} ${repository.name} ${requestor.key}`
    let no: UpstreamError | undefined
    const head = await this.#head(content).catch((error: unknown) => {
      if (!isNoOfHead(error) || this.#noes.has(key)) throw error
      no = error
      return undefined
    })
    const told = head === undefined ? undefined : byHead(head)
    if (told !== undefined) return told
    try {
      // The silence that HEAD has met may be its own.
      const found = await byGet({ ...content, insists: !wasSilent })
      if (no !== undefined && isNewsOf(no, registry.habits)) {
        const reason = no.message
        this.#context.logger.warn(
          { registry: registry.name, reason },
          'a registry gives what it denies to HEAD; it is asked by GET from now on',
        )
      }
      return found
    } catch (error) {
      if (error instanceof UpstreamError && error.code === no?.code) this.#noes.set(key, true)
      throw error
    }
  }

  /**
   * @returns undefined where HEAD says nothing that can be used
   * @throws {UpstreamError}
   */
  async #head(content: ContentRequest): Promise<RegistryResponse | undefined> {
    const { registry, what } = content
    const response = await this.#context.sender.send({ ...content, method: 'HEAD', isTentative: true })
    // A URL that was signed for GET is not good for HEAD.
    if (isRefusedElsewhere(response)) return undefined
    if (!isWhole(response.status)) throw await statusError(response, registry.name, what, this.#context.timing.now())
    return contentType(response.headers) === 'text/html' ? undefined : response
  }

  /** What a manifest is by its own bytes. A tag has what they are, whatever digest comes with them. */
  async #readManifest(content: ContentRequest): Promise<UpstreamDescriptor> {
    const { registry, what } = content
    const { descriptor, said } = await this.#manifestBytes(content)
    if (said === undefined || said === descriptor.digest) return descriptor
    if (content.digest === undefined) {
      // Bytes that were damaged on the way look like a wrong header, but don't come twice.
      const again = await this.#manifestBytes(content)
      if (again.descriptor.digest === descriptor.digest) return descriptor
    }
    throw new UpstreamError('broken', `${registry.name} sends bytes for ${what} that don't have its digest`)
  }

  /** A tag whose digest could not be had: where its bytes are something else, HEAD is not believed any more. */
  async #readDoubted(content: ContentRequest, doubted: Digest): Promise<UpstreamDescriptor> {
    const { registry } = content
    const found = await this.#readManifest(content)
    if (found.digest !== doubted && registry.habits.learn('wrong-heads')) {
      this.#context.logger.warn(
        { registry: registry.name, said: doubted, found: found.digest },
        'a registry gives another manifest than HEAD says; it is asked by GET from now on',
      )
    }
    return found
  }

  async #manifestBytes(content: ContentRequest) {
    const leave = await this.#reading.enter(content.signal).catch(() => {
      throw abortedError(content.signal)
    })
    try {
      return await this.#readBytes(content)
    } finally {
      leave()
    }
  }

  async #readBytes(content: ContentRequest) {
    const opened = await openContent(this.#context, content, 0)
    const { headers, access } = opened.response
    const bytes = await readAll(readContent(this.#context, content, opened, 0), content.limit)
    if (bytes === undefined) throw tooLong(content)
    const said = content.digest ?? digestHeader(headers)
    const digest = digestOf(bytes, said === undefined ? 'sha256' : algorithmOf(said))
    const mediaType = manifestMediaType(bytes, contentType(headers))
    if (mediaType === undefined) {
      throw new UpstreamError(
        'broken',
        `${content.registry.name} sends something for ${content.what} that is no manifest`,
      )
    }
    return { descriptor: { digest, mediaType, size: bytes.length, access, bytes }, said }
  }
}

/** What HEAD says of a manifest; undefined where it leaves out what counts. */
function manifestIn({ headers, access }: RegistryResponse, content: ContentRequest): UpstreamDescriptor | undefined {
  const digest = content.digest ?? digestHeader(headers)
  const size = sizeIn(headers, content)
  // No manifest is empty: a proxy that answers HEAD by itself says so.
  if (digest === undefined || size === undefined || size === 0) return undefined
  const type = contentType(headers)
  return { digest, mediaType: isManifestMediaType(type) ? type : undefined, size, access }
}

/** The content's size, where `Content-Length` is not that of something encoded. */
function sizeIn(headers: HttpHeaders, { registry }: ContentRequest): number | undefined {
  return codingsIn(headers, registry).length > 0 ? undefined : contentLength(headers)
}

/** Whether an error of HEAD may be no answer to GET. Whoever can't be reached, or wants to be left alone, is not asked again. */
function isNoOfHead(error: unknown): error is UpstreamError {
  if (!(error instanceof UpstreamError)) return false
  if (error.code === 'unreachable') return error instanceof TransientError && error.silence !== undefined
  return ['broken', 'denied', 'not-found', 'unauthorized'].includes(error.code)
}

/** Notes that GET gave what HEAD denied. A failure that may pass has to come twice. */
function isNewsOf(no: UpstreamError, habits: Habits): boolean {
  return no instanceof TransientError ? habits.suspect('wrong-heads') : habits.learn('wrong-heads')
}
