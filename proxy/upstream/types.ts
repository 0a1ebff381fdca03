import type { Digest } from '../oci/digest.ts'
import type { Repository } from '../oci/name.ts'
import type { ContentKind, PassedOnResponse } from '../ports.ts'

/**
 * Who a request to a registry speaks for: a client that sent its own `Authorization`, or the node (with the credentials
 * that are configured for the registry, or anonymously where there are none).
 */
export interface UpstreamRequest {
  readonly repository: Repository
  /** A client's `Authorization` header. It goes to this registry's host (and its token service) only. */
  readonly authorization?: string | undefined
  /** Asks as anybody could: neither a client's credentials nor the node's are used. */
  readonly anonymous?: boolean
  /** Whether nothing of the node's own, neither credentials nor client certificates, may be used. */
  readonly isGuest?: boolean | undefined
  readonly signal: AbortSignal
}

/**
 * Whether upstream gave content to anybody (`public`) or only for credentials (`private`); `foreign` where another registry gave
 * it for what it knows the node by, because the one that was asked sent us there. That says nothing of who may read here.
 */
export type Access = 'public' | 'private' | 'foreign'

export interface UpstreamDescriptor {
  readonly digest: Digest
  readonly mediaType: string | undefined
  readonly size: number | undefined
  readonly access: Access
  /** Of a manifest that had to be read to tell; they have the digest. */
  readonly bytes?: Uint8Array
}

export interface UpstreamBody {
  /** Size of the whole content in bytes, where upstream says it. */
  readonly size: number | undefined
  readonly mediaType: string | undefined
  readonly access: Access
  /** Where the body begins: at the offset asked for, or at 0 where the registry gives no ranges. */
  readonly start: number
  /**
   * The bytes from `start` to the end asked for; a broken transfer has been resumed inside. The length is checked, the
   * digest is not. A chunk is valid until the next one is asked for.
   */
  readonly body: AsyncIterable<Uint8Array>
}

/** The registry client. All methods throw {@link UpstreamError}. */
export interface Upstream {
  /**
   * Asks what a tag or digest is, with HEAD (GET where HEAD says no or too little). The media type is undefined where HEAD
   * names none of a manifest.
   * @param doubted a digest that upstream said the tag has, and that could not be had: the manifest's own bytes decide then
   */
  resolveManifest(
    request: UpstreamRequest & { readonly reference: string; readonly doubted?: Digest | undefined },
  ): Promise<UpstreamDescriptor>
  /** Size of content by HEAD. */
  stat(request: UpstreamRequest & { readonly kind: ContentKind; readonly digest: Digest }): Promise<UpstreamDescriptor>
  /** Opens content from byte `offset` on (or from its start), to byte `end` (inclusive) or the last one. */
  open(
    request: UpstreamRequest & {
      readonly kind: ContentKind
      readonly digest: Digest
      readonly offset: number
      readonly end?: number | undefined
    },
  ): Promise<UpstreamBody>
  /** `tags/list` and `referrers/<digest>`: any 2xx or 404 as it is. The body is bounded. */
  list(
    request: UpstreamRequest & { readonly resource: string; readonly query: string },
  ): Promise<PassedOnResponse & { readonly access: Access }>
  /** Whether a registry takes requests and answers none at present: whoever has another answer need not wait for it long. */
  isSilent(registry: string): boolean
  /** The machine's network has changed: registries that could not be reached are asked again. */
  networkChanged(): void
  /** Whether the node has anything to prove to a registry who it is: what it asks for there may be for it alone. */
  isKnownTo(registry: string): Promise<boolean>
  close(): Promise<void>
}

/**
 * - `unreachable`: no answer at all (DNS, connect, time-out); the only one that means "offline"
 * - `unauthorized`: 401 after the auth flow; `challenge` is upstream's `WWW-Authenticate`
 * - `denied`: 403
 * - `not-found`: 404
 * - `rate-limited`: 429 until the deadline
 * - `broken`: 5xx, truncated body, wrong length, HTML in place of a blob, redirect loops, unusable answers
 * - `refused`: the request would send credentials where they don't belong (foreign token realm); `challenge` is upstream's, for the
 *   client to answer
 * - `aborted`: the caller's signal
 */
export type UpstreamErrorCode =
  | 'unreachable'
  | 'unauthorized'
  | 'denied'
  | 'not-found'
  | 'rate-limited'
  | 'broken'
  | 'refused'
  | 'aborted'

/** Reason of an abort by a caller that upstream has let wait for too long, as opposed to one that has lost interest. */
export class PatienceExceeded extends Error {
  /** @param ms how long it waited */
  constructor(ms: number) {
    super(`it did not answer within ${ms} ms`)
    this.name = 'PatienceExceeded'
  }
}

export class UpstreamError extends Error {
  readonly code: UpstreamErrorCode
  readonly challenge: string | undefined

  constructor(
    code: UpstreamErrorCode,
    message: string,
    options: { readonly cause?: unknown; readonly challenge?: string | undefined } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.name = 'UpstreamError'
    this.code = code
    this.challenge = options.challenge
  }
}
