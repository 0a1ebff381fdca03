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
  /** Whether the client is a container engine: a program that fetches an image to run it, not to look at it. */
  readonly isEngine?: boolean | undefined
  /** Whether the client has what it asks for, and pushes it where it is not kept here. */
  readonly isPushCheck?: boolean | undefined
  /** Aborted when the client is gone. */
  readonly signal: AbortSignal
  /** Whether the name could as well be one of this node's own registry, which has nothing of it: a bare name that is not pushed yet. */
  readonly mayBeLocal?: boolean
}

export interface ContentRequest extends ClientRequest {
  readonly kind: ContentKind
  readonly digest: Digest
  /** Whether nothing beside it is to be fetched for it, as of an image of which a client wants some platforms. */
  readonly isExact?: boolean
}

export interface TagRequest extends ClientRequest {
  readonly tag: string
  /** A digest that the tag was resolved to, and that could not be had. */
  readonly doubted?: Digest | undefined
  /** Whether the registry is asked, whatever is known, and nobody else. */
  readonly isRefresh?: boolean
  /** Whether only facts are asked for. */
  readonly isHead?: boolean
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
  /** What a person should know of it. */
  readonly warning?: string | undefined
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
  /** Where it came from; upstream if undefined. */
  readonly origin?: ContentOrigin | undefined
  /** Set where upstream could not be asked, and this is what is known: as in {@link ResolvedTag}; 0 where that is nothing. */
  readonly confirmedAt?: number | undefined
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

/** Names of this node's own registry, as against those of upstream ones. */
export interface LocalNames {
  /** What stands for it in {@link Repository.registry}. */
  readonly registry: string
  /**
   * Whether a bare name, without any registry, means a local repository: one that has a manifest, or this very blob.
   * @param reference a digest, or anything else
   */
  has(name: string, reference?: string): boolean
  /** Whether a push to it has begun. */
  isBegun(name: string): boolean
  /** Whether it is local, but not by its bare name. */
  isHidden(name: string): boolean
  /** Whether this node holds content of an upstream's repository. */
  isHeld(repository: Repository): boolean
}

/** A push to a local repository, or a deletion from one. */
export interface PushRequest {
  /** Of the local registry. */
  readonly name: string
  readonly authorization?: string | undefined
  /** As for what is read. */
  readonly isGuest?: boolean | undefined
  readonly signal: AbortSignal
}

export interface UploadState {
  /** Names the session in its URL. */
  readonly id: string
  /** Bytes that are durable. */
  readonly length: number
}

/** Bytes that are added to an upload. */
export interface UploadChunk {
  readonly body: AsyncIterable<Uint8Array>
  /** How many come, if known. */
  readonly length: number | undefined
  /** Where they belong, where the client says it. */
  readonly start: number | undefined
  /** Cuts the connection that they come by. */
  readonly cut: () => void
}

/** What the upload routes need (distribution-spec 1.1, "Pushing blobs"). All throw {@link OciError}. */
export interface UploadSessions {
  begin(request: PushRequest): Promise<UploadState>
  /** @throws {OciError} BLOB_UPLOAD_UNKNOWN */
  state(request: PushRequest, id: string): UploadState
  /**
   * Adds bytes. What has arrived of a chunk that is cut stays.
   * @returns the new state; undefined where the chunk does not begin where the upload ends
   */
  append(request: PushRequest, id: string, chunk: UploadChunk): Promise<UploadState | undefined>
  /** Makes it a blob of the repository. @throws {OciError} DIGEST_INVALID, after which the upload is over */
  finish(request: PushRequest, id: string, digest: Digest): Promise<void>
  cancel(request: PushRequest, id: string): Promise<void>
}

/** A manifest as its client pushes it. */
export interface ManifestPush {
  readonly bytes: Uint8Array
  readonly contentType: string | undefined
  /** Where the client gives it, which must be right. */
  readonly digest: Digest | undefined
  readonly tags: readonly string[]
  /** Whether an index may name manifests that are not here, such as those of other platforms. */
  readonly isSparse?: boolean
}

/** What the routes of pushed content need (distribution-spec 1.1, "Pushing manifests", "Content Management"). All throw {@link OciError}. */
export interface LocalRegistry {
  /**
   * Puts a blob that this node has into a repository.
   * @param from the repository that it is in; undefined for any from which the client may have it
   * @returns whether it is there now
   */
  mount(request: PushRequest, digest: Digest, from: Repository | undefined): Promise<boolean>
  /** @returns its digest, and the one of the manifest that it refers to */
  putManifest(request: PushRequest, push: ManifestPush): Promise<{ digest: Digest; subject: Digest | undefined }>
  /** Deletes a tag, or a manifest with all its tags. */
  deleteManifest(request: PushRequest, reference: Digest | { readonly tag: string }): Promise<void>
  deleteBlob(request: PushRequest, digest: Digest): Promise<void>
  /** All repositories that have something, by the names that they are addressed by, sorted. */
  names(): readonly string[]
}
