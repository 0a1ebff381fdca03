import type { Config } from '../../config/schema.ts'
import { algorithmOf, type Digest, digestOf, isDigest } from '../oci/digest.ts'
import { isManifestMediaType, manifestMediaType, manifestMediaTypes, maxManifestBytes } from '../oci/manifest.ts'
import type { ContentKind } from '../ports.ts'
import { contentLength, contentType, isWhole, statusError } from './answers.ts'
import { Authorizer } from './authorization.ts'
import { type ContentContext, type ContentRequest, digestHeader, openContent, readContent, tooLong } from './content.ts'
import { CredentialStore } from './credentials.ts'
import { codingsOf, decoded } from './encoding.ts'
import { abortedError, reasonOf, TransientError } from './errors.ts'
import { type HttpHeaders, readAll } from './exchange.ts'
import { Recent } from './recent.ts'
import { createRegistry, type Registry, type UpstreamLogger } from './registry.ts'
import { systemTiming, type Timing } from './retry.ts'
import { isRefusedElsewhere, type RegistryResponse, Sender } from './send.ts'
import {
  type Upstream,
  type UpstreamBody,
  type UpstreamDescriptor,
  UpstreamError,
  type UpstreamRequest,
} from './types.ts'

export interface UpstreamOptions {
  readonly registries: Config['registries']
  readonly settings: Config['upstream']
  /** Path of Docker's `config.json`; undefined for none. */
  readonly dockerConfig: string | undefined
  /** layerd's, for `User-Agent`. */
  readonly version: string
  readonly logger: UpstreamLogger
  /** For tests. */
  readonly timing?: Timing
}

/** A no to HEAD is believed in a repository for this time, in ms, after GET has said the same. */
const noLifetime = 60_000

/** Repositories of which that is remembered. */
const maxNoes = 1_000

/** Lists grow with a repository; one without end is not kept in memory. */
const maxListBytes = 8 * 1024 * 1024

/** What the API defines for lists (distribution-spec 1.1, "Content Discovery"). */
const listHeaders: readonly string[] = ['content-type', 'link', 'oci-filters-applied']

/**
 * The registry client: authentication, redirects, retries and ranges of the configured registries.
 * @throws {Error} where a registry's CA file cannot be read
 */
export function createUpstream(options: UpstreamOptions): Upstream {
  return new RegistryClient(options)
}

class RegistryClient implements Upstream {
  readonly #registries: ReadonlyMap<string, Registry>
  readonly #headers: Readonly<Record<string, string>>
  readonly #authorizer: Authorizer
  readonly #context: ContentContext
  /** Where GET has confirmed HEAD's no. */
  readonly #noes: Recent
  readonly #closing = new AbortController()

  constructor({ registries, settings, dockerConfig, version, logger, timing = systemTiming }: UpstreamOptions) {
    this.#registries = new Map(
      Object.entries(registries).map(([name, config]) => [name, createRegistry(name, config, settings, timing.now)]),
    )
    // Content must arrive as it was hashed, so it may not be compressed on the way.
    this.#headers = { 'user-agent': `layerd/${version}`, 'accept-encoding': 'identity' }
    const { signal } = this.#closing
    const credentials = new CredentialStore(dockerConfig, logger, timing.now, signal)
    this.#authorizer = new Authorizer(credentials, this.#headers, timing.now, logger, signal)
    const { attempts } = settings
    const registryAt = (origin: string) =>
      [...this.#registries.values()].find(({ endpoint }) => endpoint.origin === origin)
    const sender = new Sender(this.#authorizer, attempts, timing, logger, registryAt)
    this.#context = { sender, attempts, timing, logger }
    this.#noes = new Recent(noLifetime, maxNoes, timing.now)
  }

  async resolveManifest({
    doubted,
    ...request
  }: Parameters<Upstream['resolveManifest']>[0]): Promise<UpstreamDescriptor> {
    const { reference } = request
    const digest = isDigest(reference) ? reference : undefined
    const content = await this.#contentRequest(request, 'manifest', reference, digest)
    if (doubted !== undefined) return this.#readDoubted(content, doubted)
    return this.#ask(
      content,
      (head) => manifestIn(head, digest),
      () => this.#readManifest(content),
    )
  }

  async stat(
    request: UpstreamRequest & { readonly kind: ContentKind; readonly digest: Digest },
  ): Promise<UpstreamDescriptor> {
    const { kind, digest } = request
    if (kind === 'manifest') return this.resolveManifest({ ...request, reference: digest })
    const content = await this.#contentRequest(request, kind, digest, digest)
    const byHead = ({ headers, access }: RegistryResponse) => {
      const size = sizeIn(headers)
      return size === undefined ? undefined : { digest, mediaType: contentType(headers), size, access }
    }
    return this.#ask(content, byHead, async () => {
      const { response, size } = await openContent(this.#context, content, 0)
      response.body.cancel()
      return { digest, mediaType: contentType(response.headers), size, access: response.access }
    })
  }

  async open(request: Parameters<Upstream['open']>[0]): Promise<UpstreamBody> {
    const { kind, digest, offset, end } = request
    const content = { ...(await this.#contentRequest(request, kind, digest, digest)), end }
    const opened = await openContent(this.#context, content, offset)
    const { response, start, size } = opened
    const { headers, access } = response
    const body = readContent(this.#context, content, opened, start)
    return { start, size, mediaType: contentType(headers), access, body }
  }

  isSilent(registry: string): boolean {
    return this.#registries.get(registry)?.breaker.isSilent === true
  }

  async list(
    request: UpstreamRequest & { readonly resource: string; readonly query: string },
  ): ReturnType<Upstream['list']> {
    const { repository, resource, query } = request
    const registry = this.#registry(repository.registry)
    const what = `${resource} of ${repository.name}`
    const signal = this.#signal(request.signal)
    const response = await this.#context.sender.send({
      registry,
      requestor: await this.#authorizer.requestorOf(request),
      repository,
      method: 'GET',
      path: resource,
      query,
      headers: { ...this.#headers, accept: 'application/vnd.oci.image.index.v1+json, application/json, */*' },
      what,
      examine: async (answer) => (contentType(answer.headers) === 'text/html' ? 'an HTML page' : answer),
      signal,
    })
    const { status, access } = response
    if (status !== 404 && (status < 200 || status > 299)) {
      throw await statusError(response, registry.name, what, this.#context.timing.now())
    }
    const codings = codingsOf(response.headers)
    const bytes = codings.length > 0 ? decoded(response.body, codings) : response.body
    const body = await readAll(bytes, maxListBytes).catch((error: unknown) => {
      if (signal.aborted) throw abortedError(signal)
      throw new UpstreamError('broken', `${registry.name} broke off ${what}: ${reasonOf(error)}`, { cause: error })
    })
    if (body === undefined) throw new UpstreamError('broken', `${registry.name} sends too many bytes for ${what}`)
    const headers: Record<string, string> = {}
    for (const name of listHeaders) {
      const value = response.headers.get(name)
      if (value !== undefined) headers[name] = value
    }
    return { status, headers, body, access }
  }

  async close(): Promise<void> {
    this.#closing.abort(new Error('layerd is stopping'))
    await Promise.all([...this.#registries.values()].map(({ agent }) => agent.destroy()))
  }

  /**
   * Asks by HEAD, which moves nothing, and by GET where HEAD says no or too little: some registries and proxies know GET only.
   * Where GET has said the same as HEAD in a repository, HEAD is believed for a while.
   */
  async #ask(
    content: ContentRequest,
    byHead: (head: RegistryResponse) => UpstreamDescriptor | undefined,
    byGet: () => Promise<UpstreamDescriptor>,
  ): Promise<UpstreamDescriptor> {
    const { registry, repository, requestor } = content
    if (registry.habits.has('wrong-heads')) return byGet()
    const key = `${registry.name} ${repository.name} ${requestor.kind === 'token' ? 'token' : requestor.key}`
    let no: UpstreamError | undefined
    const head = await this.#head(content).catch((error: unknown) => {
      if (!isNoOfHead(error) || this.#noes.has(key)) throw error
      no = error
      return undefined
    })
    const told = head === undefined ? undefined : byHead(head)
    if (told !== undefined) return told
    try {
      const found = await byGet()
      if (no !== undefined && registry.habits.learn('wrong-heads')) {
        const reason = no.message
        this.#context.logger.warn(
          { registry: registry.name, reason },
          'a registry gives what it denies to HEAD; it is asked by GET from now on',
        )
      }
      return found
    } catch (error) {
      if (error instanceof UpstreamError && error.code === no?.code) this.#noes.add(key)
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
    return { descriptor: { digest, mediaType, size: bytes.length, access }, said }
  }

  async #contentRequest(
    request: UpstreamRequest,
    kind: ContentKind,
    reference: string,
    digest: Digest | undefined,
  ): Promise<ContentRequest> {
    const { repository, signal } = request
    const isManifest = kind === 'manifest'
    return {
      registry: this.#registry(repository.registry),
      requestor: await this.#authorizer.requestorOf(request),
      repository,
      path: `${isManifest ? 'manifests' : 'blobs'}/${reference}`,
      headers: { ...this.#headers, accept: isManifest ? [...manifestMediaTypes, '*/*'].join(', ') : '*/*' },
      what: `the ${kind} ${repository.name}${digest === undefined ? ':' : '@'}${reference}`,
      digest,
      limit: isManifest ? maxManifestBytes : Number.MAX_SAFE_INTEGER,
      signal: this.#signal(signal),
    }
  }

  #registry(name: string): Registry {
    const registry = this.#registries.get(name)
    if (registry !== undefined) return registry
    throw new UpstreamError('not-found', `${name} is not one of the configured registries`)
  }

  #signal(ofRequest: AbortSignal): AbortSignal {
    return AbortSignal.any([ofRequest, this.#closing.signal])
  }
}

/** What HEAD says of a manifest; undefined where it leaves out what counts. */
function manifestIn({ headers, access }: RegistryResponse, known: Digest | undefined): UpstreamDescriptor | undefined {
  const digest = known ?? digestHeader(headers)
  const size = sizeIn(headers)
  // No manifest is empty: a proxy that answers HEAD by itself says so.
  if (digest === undefined || size === undefined || size === 0) return undefined
  const type = contentType(headers)
  return { digest, mediaType: isManifestMediaType(type) ? type : undefined, size, access }
}

/** The content's size, where `Content-Length` is not that of something encoded. */
function sizeIn(headers: HttpHeaders): number | undefined {
  return codingsOf(headers).length > 0 ? undefined : contentLength(headers)
}

/** Whether an error of HEAD may be no answer to GET. Whoever can't be reached, or wants to be left alone, is not asked again. */
function isNoOfHead(error: unknown): error is UpstreamError {
  if (!(error instanceof UpstreamError)) return false
  if (error.code === 'unreachable') return error instanceof TransientError
  return ['broken', 'denied', 'not-found', 'unauthorized'].includes(error.code)
}
