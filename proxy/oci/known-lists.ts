import { type Digest, isDigest } from './digest.ts'
import { manifestMediaType, maxManifestBytes } from './manifest.ts'
import { isTag } from './name.ts'

/** Entries of a list that are read. Repositories with more tags are listed in part, which is what a kept list may be anyway. */
export const maxEntries = 50_000

type Fields = Readonly<Record<string, unknown>>

/** What a list of referrers says of one of them (distribution-spec 1.1, "Listing Referrers"). */
export interface Referrer extends Fields {
  readonly digest: Digest
  readonly artifactType?: unknown
}

/** The tags in an answer to `tags/list`; undefined where it is none. */
export function tagsIn(body: Uint8Array): readonly string[] | undefined {
  const { tags } = fieldsIn(body)
  if (tags === null) return []
  if (!Array.isArray(tags)) return undefined
  return tags.slice(0, maxEntries).filter((tag): tag is string => typeof tag === 'string' && isTag(tag))
}

/** The descriptors in an index, as lists of referrers are; undefined where it is none. */
export function referrersIn(body: Uint8Array): readonly Referrer[] | undefined {
  const { manifests } = fieldsIn(body)
  if (manifests === null) return []
  if (!Array.isArray(manifests)) return undefined
  return manifests.slice(0, maxEntries).filter((one): one is Referrer => {
    return isObject(one) && typeof one.digest === 'string' && isDigest(one.digest)
  })
}

/** The annotations of a manifest, or of a list that was marked like one. */
export function annotationsIn(body: Uint8Array): Fields {
  const { annotations } = fieldsIn(body)
  return isObject(annotations) ? annotations : {}
}

/** The manifest that another one refers to; undefined for most. */
export function subjectOf(manifest: Uint8Array): Digest | undefined {
  const { subject } = fieldsIn(manifest)
  const digest = isObject(subject) ? subject.digest : undefined
  return typeof digest === 'string' && isDigest(digest) ? digest : undefined
}

/** How a manifest is listed among the referrers of its subject. @param mediaType as its sender called it */
export function referrerOf(digest: Digest, manifest: Uint8Array, mediaType: string | undefined): Referrer {
  const { artifactType, config, annotations } = fieldsIn(manifest)
  const ofConfig = isObject(config) ? config.mediaType : undefined
  const type = typeof artifactType === 'string' && artifactType !== '' ? artifactType : ofConfig
  return {
    mediaType: manifestMediaType(manifest, mediaType),
    digest,
    size: manifest.length,
    ...(typeof type === 'string' ? { artifactType: type } : {}),
    ...(isObject(annotations) ? { annotations } : {}),
  }
}

function fieldsIn(bytes: Uint8Array): Fields {
  if (bytes.length > maxManifestBytes) return {}
  try {
    const value: unknown = JSON.parse(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('utf8'))
    return isObject(value) ? value : {}
  } catch {
    return {}
  }
}

function isObject(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
