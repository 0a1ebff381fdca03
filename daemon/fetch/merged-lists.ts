import { referrersIn, tagsIn } from '../../proxy/oci/known-lists.ts'

export const indexType = 'application/vnd.oci.image.index.v1+json'

/** A tag list with what was kept before. @returns undefined where it is none */
export function mergedTags(name: string, body: Uint8Array, before: Uint8Array | undefined) {
  const tags = tagsIn(body)
  if (tags === undefined) return undefined
  const all = [...new Set([...((before && tagsIn(before)) ?? []), ...tags])].sort()
  return { bytes: Buffer.from(JSON.stringify({ name, tags: all })), mediaType: 'application/json' }
}

/** The same of referrers, each once. */
export function mergedReferrers(body: Uint8Array, before: Uint8Array | undefined) {
  const referrers = referrersIn(body)
  if (referrers === undefined) return undefined
  const all = new Map([...((before && referrersIn(before)) ?? []), ...referrers].map((one) => [one.digest, one]))
  const manifests = [...all.values()]
  return {
    bytes: Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: indexType, manifests })),
    mediaType: indexType,
  }
}
