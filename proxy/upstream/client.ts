import type { LookupFunction } from 'node:net'
import type { Config } from '../../config/schema.ts'
import type { RegistryList } from '../known-registries.ts'
import { algorithmOf, type Digest, digestOf, isDigest } from '../oci/digest.ts'
import { manifestMediaTypes, maxManifestBytes } from '../oci/manifest.ts'
import type { ContentKind } from '../ports.ts'
import { contentLength, contentType, statusError } from './answers.ts'
import { Authorizer } from './authorization.ts'
import {
  type ContentContext,
  type ContentRequest,
  defectOf,
  digestHeader,
  openContent,
  readContent,
  tooLong,
} from './content.ts'
import { CredentialStore } from './credentials.ts'
import { abortedError, reasonOf } from './errors.ts'
import { readAll } from './exchange.ts'
import { Registries } from './registries.ts'
import type { UpstreamLogger } from './registry.ts'
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
  readonly registries: RegistryList
  readonly settings: Config['upstream']
  /** Path of Docker's `config.json`; undefined for none. */
  readonly dockerConfig: string | undefined
  /** layerd's, for `User-Agent`. */
  readonly version: string
  readonly logger: UpstreamLogger
  /** For tests. */
  readonly timing?: Timing
  /** What resolves the names of registries in place of the system; for tests. */
  readonly lookup?: LookupFunction
}

/** Answers of HEAD that say nothing of the content: some registries and proxies know GET only. */
const headRefused: ReadonlySet<number> = new Set([400, 405, 406, 415, 501])

/** Lists grow with a repository; one without end is not kept in memory. */
const maxListBytes = 8 * 1024 * 1024

/** What the API defines for lists (distribution-spec 1.1, "Content Discovery"). */
const listHeaders: readonly string[] = ['content-type', 'link', 'oci-filters-applied']

/**
 * The registry client: authentication, redirects, retries and ranges of the configured registries.
 * @throws {Error} where a file of a registry's options cannot be read
 */
export function createUpstream(options: UpstreamOptions): Upstream {
  return new RegistryClient(options)
}

class RegistryClient implements Upstream {
  readonly #registries: Registries
  readonly #headers: Readonly<Record<string, string>>
  readonly #authorizer: Authorizer
  readonly #context: ContentContext
  readonly #closing = new AbortController()

  constructor(options: UpstreamOptions) {
    const { registries: list, settings, dockerConfig, version, logger, timing = systemTiming, lookup } = options
    this.#registries = new Registries({ list, settings, now: timing.now, lookup })
    // Content must arrive as it was hashed, so it may not be compressed on the way.
    this.#headers = { 'user-agent': `layerd/${version}`, 'accept-encoding': 'identity' }
    const { signal } = this.#closing
    const credentials = new CredentialStore(dockerConfig, logger, timing.now, signal)
    this.#authorizer = new Authorizer(credentials, this.#headers, timing.now, signal)
    const { attempts } = settings
    this.#context = { sender: new Sender(this.#authorizer, attempts, timing, logger), attempts, timing }
  }

  async resolveManifest(request: UpstreamRequest & { readonly reference: string }): Promise<UpstreamDescriptor> {
    const { reference } = request
    const digest = isDigest(reference) ? reference : undefined
    const content = await this.#contentRequest(request, 'manifest', reference, digest)
    const head = await this.#head(content)
    if (head !== undefined) {
      const { headers, access } = head
      const found = digest ?? digestHeader(headers)
      const size = contentLength(headers)
      // No manifest is empty: a proxy that answers HEAD by itself says so.
      if (found !== undefined && size !== undefined && size > 0) {
        return { digest: found, mediaType: contentType(headers), size, access }
      }
    }
    return this.#readManifest(content)
  }

  async stat(
    request: UpstreamRequest & { readonly kind: ContentKind; readonly digest: Digest },
  ): Promise<UpstreamDescriptor> {
    const { kind, digest } = request
    if (kind === 'manifest') return this.resolveManifest({ ...request, reference: digest })
    const content = await this.#contentRequest(request, kind, digest, digest)
    const head = await this.#head(content)
    const size = head === undefined ? undefined : contentLength(head.headers)
    if (head !== undefined && size !== undefined) {
      return { digest, mediaType: contentType(head.headers), size, access: head.access }
    }
    const opened = await openContent(this.#context, content, 0)
    const { headers, access, body } = opened.response
    body.cancel()
    return { digest, mediaType: contentType(headers), size: opened.size, access }
  }

  async open(request: Parameters<Upstream['open']>[0]): Promise<UpstreamBody> {
    const { kind, digest, offset, end } = request
    const content = { ...(await this.#contentRequest(request, kind, digest, digest)), end }
    const opened = await openContent(this.#context, content, offset)
    const { headers, access } = opened.response
    const body = readContent(this.#context, content, opened, offset)
    return { size: opened.size, mediaType: contentType(headers), access, body }
  }

  async list(
    request: UpstreamRequest & { readonly resource: string; readonly query: URLSearchParams },
  ): ReturnType<Upstream['list']> {
    const { repository, resource, query } = request
    const registry = this.#registries.get(repository.registry)
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
      findDefect: (answer) => defectOf(answer, undefined),
      signal,
    })
    const { status, access } = response
    if (status !== 404 && (status < 200 || status > 299)) {
      throw await statusError(response, registry.name, what, this.#context.timing.now())
    }
    const body = await readAll(response.body, maxListBytes).catch((error: unknown) => {
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
    await this.#registries.close()
  }

  /** @returns undefined where only a GET can tell */
  async #head(content: ContentRequest): Promise<RegistryResponse | undefined> {
    const { digest, registry, what } = content
    const response = await this.#context.sender.send({
      ...content,
      method: 'HEAD',
      findDefect: (answer) => defectOf(answer, digest),
    })
    const { status } = response
    if (status === 200) return response
    // A URL that was signed for GET is not good for HEAD.
    if (headRefused.has(status) || isRefusedElsewhere(response)) return undefined
    throw await statusError(response, registry.name, what, this.#context.timing.now())
  }

  async #readManifest(content: ContentRequest): Promise<UpstreamDescriptor> {
    const { registry, what } = content
    const opened = await openContent(this.#context, content, 0)
    const { headers, access } = opened.response
    const bytes = await readAll(readContent(this.#context, content, opened, 0), content.limit)
    if (bytes === undefined) throw tooLong(content)
    const said = content.digest ?? digestHeader(headers)
    const digest = digestOf(bytes, said === undefined ? 'sha256' : algorithmOf(said))
    if (said !== undefined && digest !== said) {
      throw new UpstreamError('broken', `${registry.name} sends bytes for ${what} that don't have its digest`)
    }
    return { digest, mediaType: contentType(headers), size: bytes.length, access }
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
      registry: this.#registries.get(repository.registry),
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

  #signal(ofRequest: AbortSignal): AbortSignal {
    return AbortSignal.any([ofRequest, this.#closing.signal])
  }
}
