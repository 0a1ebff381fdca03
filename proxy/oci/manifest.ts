import { OciError } from './errors.ts'
import { parseMediaType } from './media-type.ts'

/**
 * Longest manifest that is taken, in bytes; from upstream, from peers and from the store alike. The distribution-spec 1.1,
 * "Pushing manifests", has registries take 4 MiB at least, and some take what their own limits allow. Manifests are read whole,
 * which is why there is a limit at all.
 */
export const maxManifestBytes = 16 * 1024 * 1024

/**
 * A manifest of more bytes than this is long, and waits for its turn to be in memory: nearly all have a few KiB, and what the spec
 * asks registries to take is 4 MiB.
 */
export const longManifestBytes = 1024 * 1024

/** What a person is told of a manifest that is too long. @param size its bytes, where they are known */
export function tooLongText(size: number | undefined): string {
  const length = size === undefined ? 'has more bytes than that' : `has ${size} bytes`
  return `a manifest may have ${maxManifestBytes} bytes (16 MiB) here, and this one ${length}`
}

/** A manifest is too long. The next mirror, or the registry itself, may still give it to the client. */
export function manifestTooLong(size: number | undefined): OciError {
  return new OciError('UNAVAILABLE', tooLongText(size))
}

const ociManifest = 'application/vnd.oci.image.manifest.v1+json'
const ociIndex = 'application/vnd.oci.image.index.v1+json'
const dockerManifest = 'application/vnd.docker.distribution.manifest.v2+json'
const dockerList = 'application/vnd.docker.distribution.manifest.list.v2+json'
const dockerSchema1 = 'application/vnd.docker.distribution.manifest.v1+prettyjws'
const dockerSchema1Unsigned = 'application/vnd.docker.distribution.manifest.v1+json'

/** What layerd asks an upstream for: every kind of manifest, so that none is converted on the way. */
export const manifestMediaTypes: readonly string[] = [
  ociIndex,
  ociManifest,
  dockerList,
  dockerManifest,
  dockerSchema1,
  dockerSchema1Unsigned,
]

/** What manifests list, each kind its own; no other blob of an image has such a list (image-spec 1.1; Docker's schemas). */
const manifestLists = ['layers', 'manifests', 'fsLayers', 'blobs'] as const

/**
 * Whether a media type can be that of a manifest: one of those above, or of an artifact that defines its own, which is JSON. What
 * servers say of any file (`text/plain`, `application/json`) is not, nor is what a browser would show.
 */
export function isManifestMediaType(type: string | undefined): type is string {
  if (type === undefined || parseMediaType(type) !== type) return false
  return manifestMediaTypes.includes(type) || /^application\/(?:vnd|x|prs)[.].*\+json$/.test(type)
}

/**
 * The media type of a manifest whose bytes are proven by digest. The type is not covered by the digest, so what the
 * bytes say of themselves (image-spec 1.1, `mediaType`) comes before what their sender said. Both count only where they are types
 * of manifests.
 * @param claimed the sender's `Content-Type`, if any
 * @returns undefined for what is no manifest: no JSON object, or one that nobody called a manifest and that has not the fields of one
 */
export function manifestMediaType(bytes: Uint8Array, claimed: string | undefined): string | undefined {
  let manifest: unknown
  try {
    manifest = JSON.parse(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('utf8'))
  } catch {
    return undefined
  }
  if (typeof manifest !== 'object' || manifest === null || Array.isArray(manifest)) return undefined
  const fields = manifest as Record<string, unknown>
  const type = parseMediaType(claimed)
  const isOne = isManifestMediaType(type) || manifestLists.some((name) => Array.isArray(fields[name]))
  if (!isOne) return undefined
  const own = typeof fields.mediaType === 'string' ? parseMediaType(fields.mediaType) : undefined
  if (isManifestMediaType(own)) return own
  if (fields.schemaVersion === 1) return type === dockerSchema1Unsigned ? type : dockerSchema1
  const isList = Array.isArray(fields.manifests)
  if (
    type !== undefined &&
    manifestMediaTypes.includes(type) &&
    (type === ociIndex || type === dockerList) === isList
  ) {
    return type
  }
  return isList ? ociIndex : ociManifest
}
