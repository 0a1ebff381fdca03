import type { Digest } from './oci/digest.ts'
import type { Repository } from './oci/name.ts'

/** Where the bytes of an answer came from, as logs and metrics name it. */
export type ContentOrigin = 'store' | 'peer' | 'upstream'

/** Manifests and blobs are both content by digest; upstream keeps them under different paths. */
export type ContentKind = 'manifest' | 'blob'

interface ClientRequest {
  readonly repository: Repository
  /** The client's own `Authorization` header for this registry, if it sent one. */
  readonly authorization?: string | undefined
  /** Whether nothing of the node's own, neither credentials nor client certificates, may be used for this client. */
  readonly isGuest?: boolean | undefined
  /** Aborted when the client is gone. */
  readonly signal: AbortSignal
}

export interface ContentRequest extends ClientRequest {
  readonly kind: ContentKind
  readonly digest: Digest
}

export interface TagRequest extends ClientRequest {
  readonly tag: string
  /** A digest that the tag was resolved to, and that could not be had. */
  readonly doubted?: Digest | undefined
}

export interface ContentInfo {
  /** Bytes; undefined while an upstream that sends no length has not finished. */
  readonly size: number | undefined
  /** Known for manifests; blobs have none of their own in a registry. */
  readonly mediaType?: string | undefined
  readonly origin: ContentOrigin
}

/** Content that is open for reading. It must be closed, also when it was not read. */
export interface Content extends ContentInfo {
  /**
   * The bytes from `start` up to and including `end` (to the last one if undefined), in order, once.
   * A chunk is valid until the next one is asked for: its memory is used again.
   * The last bytes are given only after the whole content was proven against its digest.
   * @throws when the content can't be had whole; what was given until then must not be presented as complete
   */
  read(start: number, end: number | undefined, signal: AbortSignal): AsyncIterable<Uint8Array>
  /**
   * Whether bytes are sure to come, though none may be here yet: upstream has begun to send them. Until then, an answer that begins
   * would keep a client from its next mirror. Always so where it is left out.
   */
  isComing?(): boolean
  close(): Promise<void>
}

/** What the registry routes need to answer for content by digest. All throw {@link OciError} where it can't be had. */
export interface ContentSource {
  open(request: ContentRequest): Promise<Content>
  /** As `open`, for HEAD: what is known without moving the content, if that can be told. */
  stat(request: ContentRequest): Promise<ContentInfo>
  /** What this node has of it, if the client may have that; nobody is asked for the content. */
  held(request: ContentRequest): Promise<ContentInfo | undefined>
}

export interface ResolvedTag {
  readonly digest: Digest
  /** Of the manifest, where upstream said it when it was asked for the tag. */
  readonly mediaType?: string | undefined
  readonly size?: number | undefined
  /** Set where upstream could not be asked: when it last confirmed the tag, in ms since the epoch. */
  readonly confirmedAt?: number | undefined
  /** The PeerId of the node that it confirmed it to, where that is another one. */
  readonly confirmedBy?: string | undefined
}

/** What the manifest route needs to turn a tag into a digest. Throws {@link OciError}. */
export interface TagResolver {
  resolve(request: TagRequest): Promise<ResolvedTag>
}

/** An answer of upstream that is passed on as it is: tag lists and referrers. */
export interface PassedOnResponse {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: Uint8Array
}

export interface ListRequest extends ClientRequest {
  /** `tags/list` or `referrers/<digest>`. */
  readonly resource: 'tags/list' | `referrers/${Digest}`
  /** As the client wrote it, without `?` and without what is the mirror's own; upstream reads it. */
  readonly query: string
}

/** What the list routes need. Throws {@link OciError}. */
export interface ListSource {
  list(request: ListRequest): Promise<PassedOnResponse>
}
