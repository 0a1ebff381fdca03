import { type Digest, isDigest } from './digest.ts'
import { OciError } from './errors.ts'
import { isManifestMediaType, manifestMediaType, manifestMediaTypes } from './manifest.ts'

/** Content that a manifest names (image-spec 1.1, "Content Descriptors"). */
export interface Descriptor {
  readonly digest: Digest
  /** Bytes. */
  readonly size: number
}

/** What a registry has to know of a manifest that is pushed to it. */
export interface PushedManifest {
  readonly mediaType: string
  /** Blobs that whoever pulls it will ask this registry for. */
  readonly blobs: readonly Descriptor[]
  /** Manifests that an index names. */
  readonly manifests: readonly Descriptor[]
  /** What an index names and calls no manifest, which may be a blob: BuildKit's cache has an index of its layers. */
  readonly others: readonly Descriptor[]
  /** The manifest that this one refers to, which need not be there. */
  readonly subject: Digest | undefined
  /** What it is listed as among the referrers of its subject (distribution-spec 1.1, "Listing Referrers"). */
  readonly artifactType: string | undefined
}

/** Characters of a media type at most (RFC 6838, 4.2: two names of 127). */
const maxTypeLength = 255

/** Whether something can be an artifact's type, which some programs write without a slash. */
export function isArtifactType(type: unknown): type is string {
  return typeof type === 'string' && type.length <= maxTypeLength && /^[ -~]+$/.test(type)
}

type Fields = Readonly<Record<string, unknown>>

/**
 * Reads a manifest that is pushed: an image or an index, of OCI or of Docker, or an artifact of another media type.
 * @param contentType the `Content-Type` that came with it, if any
 * @throws {OciError} MANIFEST_INVALID with the reason
 */
export function readPushedManifest(bytes: Uint8Array, contentType: string | undefined): PushedManifest {
  const fields = parse(bytes)
  const claimed = contentType?.split(';', 1)[0]?.trim().toLowerCase()
  const mediaType = manifestMediaType(bytes, claimed) ?? ''
  if (isManifestMediaType(claimed) && claimed !== mediaType)
    throw invalid(`its Content-Type is ${claimed}, but it says that it is ${mediaType}`)
  if (!isManifestMediaType(mediaType)) {
    const shown = mediaType || claimed
    throw invalid(shown ? `${shown} is not the media type of a manifest` : 'nothing says its media type')
  }
  if (fields.schemaVersion === 1) throw invalid("Docker's schema 1 is not taken: push it as an OCI image or schema 2")
  const isIndex = /\.(?:index|list)\./.test(mediaType) || mediaType.endsWith('.index')
  const isImage = !isIndex && /\.manifest\.v[12]\+json$/.test(mediaType) && !mediaType.includes('.artifact.')
  if ((isIndex || isImage) && fields.schemaVersion !== 2) throw invalid('its schemaVersion is not 2')
  // What one reader takes for an image and another one for an index is neither (CVE-2021-41190).
  const hasBoth = isGiven(fields.manifests) && (isGiven(fields.layers) || isGiven(fields.config))
  if (hasBoth) throw invalid('it has manifests as an index has, and a config or layers as an image has')
  if (isImage && !isGiven(fields.config)) throw invalid('it has no config')
  if ((isImage && isGiven(fields.manifests)) || (isIndex && (isGiven(fields.layers) || isGiven(fields.config))))
    throw invalid(`its fields are not those of ${mediaType}`)
  const config = isGiven(fields.config) ? [fields.config] : []
  const entries = list(fields.manifests, 'manifests')
  const named = [...config, ...list(fields.layers, 'layers'), ...list(fields.blobs, 'blobs')]
  return {
    mediaType,
    blobs: named.filter((one) => !isElsewhere(one)).map(readDescriptor),
    manifests: entries.filter(isCalledManifest).map(readDescriptor),
    others: entries.filter((one) => !isCalledManifest(one)).map(readDescriptor),
    subject: isGiven(fields.subject) ? readDescriptor(fields.subject).digest : undefined,
    artifactType: artifactTypeOf(fields, isImage),
  }
}

/** The annotations of a manifest (image-spec 1.1), as a list of referrers repeats them. @param bytes of a manifest that was taken */
export function annotationsOf(bytes: Uint8Array): Readonly<Record<string, string>> | undefined {
  const { annotations } = parse(bytes)
  if (!isObject(annotations)) return undefined
  const texts = Object.entries(annotations).filter((entry): entry is [string, string] => typeof entry[1] === 'string')
  return texts.length === 0 ? undefined : Object.fromEntries(texts)
}

/** What is no type is none, as for one that is left out. */
function artifactTypeOf({ artifactType, config }: Fields, isImage: boolean): string | undefined {
  if (isArtifactType(artifactType)) return artifactType
  const type = isImage && isObject(config) ? config.mediaType : undefined
  return isArtifactType(type) ? type : undefined
}

/** Layers that may not be handed on, or that are to be had under other addresses, are not pushed (image-spec 1.1). */
function isElsewhere(descriptor: unknown): boolean {
  const { urls, mediaType } = isObject(descriptor) ? descriptor : {}
  if (Array.isArray(urls) && urls.length > 0) return true
  return typeof mediaType === 'string' && /\.(?:nondistributable|foreign)\b/.test(mediaType)
}

/** Whether clients will ask for it as a manifest: also where nothing is said of it, as an index is a list of manifests. */
function isCalledManifest(descriptor: unknown): boolean {
  const { mediaType } = isObject(descriptor) ? descriptor : {}
  return typeof mediaType !== 'string' || manifestMediaTypes.includes(mediaType)
}

function readDescriptor(value: unknown): Descriptor {
  const { digest, size } = isObject(value) ? value : {}
  if (typeof digest !== 'string' || !isDigest(digest))
    throw invalid(`it names content by ${JSON.stringify(digest)?.slice(0, 100)}, which is not a digest`)
  if (typeof size !== 'number' || !Number.isSafeInteger(size) || size < 0)
    throw invalid(`the size of ${digest} in it is not a number of bytes`)
  return { digest, size }
}

/** Some programs write a list without entries as null. */
function list(value: unknown, name: string): readonly unknown[] {
  if (!isGiven(value)) return []
  if (!Array.isArray(value)) throw invalid(`its ${name} are not a list`)
  return value
}

function parse(bytes: Uint8Array): Fields {
  let parsed: unknown
  try {
    parsed = JSON.parse(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('utf8'))
  } catch {
    throw invalid('it is not JSON')
  }
  if (!isObject(parsed)) throw invalid('it is not a JSON object')
  return parsed
}

function isObject(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function isGiven(value: unknown): boolean {
  return value !== undefined && value !== null
}

function invalid(reason: string): OciError {
  return new OciError('MANIFEST_INVALID', `the manifest can't be taken: ${reason}`)
}
