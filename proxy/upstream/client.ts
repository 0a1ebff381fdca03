import type { LookupFunction } from 'node:net'
import type { Config } from '../../config/schema.ts'
import type { RegistryList } from '../known-registries.ts'
import { type Digest, isDigest } from '../oci/digest.ts'
import { manifestMediaTypes, maxManifestBytes } from '../oci/manifest.ts'
import type { ContentKind } from '../ports.ts'
import { contentType } from './answers.ts'
import { Authorizer } from './authorization.ts'
import { type ContentContext, type ContentRequest, openContent, readContent } from './content.ts'
import { CredentialStore } from './credentials.ts'
import type { OwnPorts } from './guard.ts'
import { Inquiry } from './inquiry.ts'
import { fetchList } from './list.ts'
import { Registries } from './registries.ts'
import type { UpstreamLogger } from './registry.ts'
import { systemTiming, type Timing } from './retry.ts'
import { Sender } from './send.ts'
import type { Upstream, UpstreamBody, UpstreamDescriptor, UpstreamRequest } from './types.ts'

export interface UpstreamOptions {
  readonly registries: RegistryList
  readonly settings: Config['upstream']
  /** Path of Docker's `config.json`; undefined for none. */
  readonly dockerConfig: string | undefined
  /** layerd's, for `User-Agent`. */
  readonly version: string
  readonly logger: UpstreamLogger
  /** Where this node listens itself. */
  readonly ownPorts?: OwnPorts
  /** For tests. */
  readonly timing?: Timing
  /** What resolves the names of registries in place of the system; for tests. */
  readonly lookup?: LookupFunction
}

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
  readonly #credentials: CredentialStore
  readonly #authorizer: Authorizer
  readonly #context: ContentContext
  readonly #inquiry: Inquiry
  readonly #closing = new AbortController()

  constructor(options: UpstreamOptions) {
    const {
      registries: list,
      settings,
      dockerConfig,
      version,
      logger,
      ownPorts,
      timing = systemTiming,
      lookup,
    } = options
    const userAgent = settings.userAgent ?? `layerd/${version}`
    this.#registries = new Registries({ list, settings, userAgent, now: timing.now, ownPorts, lookup })
    // Content must arrive as it was hashed, so it may not be compressed on the way.
    this.#headers = { 'user-agent': userAgent, 'accept-encoding': 'identity' }
    const { signal } = this.#closing
    this.#credentials = new CredentialStore(dockerConfig, logger, timing.now, signal)
    this.#authorizer = new Authorizer(this.#credentials, this.#headers, timing.now, logger, signal)
    const { attempts } = settings
    const registryAt = (origin: string) => this.#registries.at(origin)
    const sender = new Sender(this.#authorizer, attempts, timing, logger, registryAt)
    this.#context = { sender, attempts, timing, logger }
    this.#inquiry = new Inquiry(this.#context)
  }

  async resolveManifest({
    doubted,
    ...request
  }: Parameters<Upstream['resolveManifest']>[0]): Promise<UpstreamDescriptor> {
    const { reference } = request
    const digest = isDigest(reference) ? reference : undefined
    const content = await this.#contentRequest(request, 'manifest', reference, digest)
    return this.#inquiry.manifest(content, doubted)
  }

  async stat(
    request: UpstreamRequest & { readonly kind: ContentKind; readonly digest: Digest },
  ): Promise<UpstreamDescriptor> {
    const { kind, digest } = request
    if (kind === 'manifest') return this.resolveManifest({ ...request, reference: digest })
    const content = await this.#contentRequest(request, kind, digest, digest)
    return this.#inquiry.blob({ ...content, digest })
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
    return this.#registries.known(registry)?.breaker.isSilent === true
  }

  networkChanged(): void {
    this.#registries.wayMayBeOpen()
  }

  async isKnownTo(name: string): Promise<boolean> {
    const registry = this.#registries.get(name)
    return registry.isPrivate || (await this.#credentials.find(registry, false)) !== undefined
  }

  async list(
    request: UpstreamRequest & { readonly resource: string; readonly query: string },
  ): ReturnType<Upstream['list']> {
    const { repository, resource, query } = request
    const registry = this.#registries.get(repository.registry)
    const what = `${resource} of ${repository.name}`
    return fetchList(this.#context, {
      registry,
      requestor: await this.#authorizer.requestorOf(request),
      repository,
      method: 'GET',
      path: resource,
      query,
      headers: { ...this.#headers, accept: 'application/vnd.oci.image.index.v1+json, application/json, */*' },
      what,
      signal: this.#signal(request.signal),
    })
  }

  async close(): Promise<void> {
    this.#closing.abort(new Error('layerd is stopping'))
    await this.#registries.close()
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
