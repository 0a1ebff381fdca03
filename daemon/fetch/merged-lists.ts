import { annotationsIn, maxEntries, referrersIn, tagsIn } from '../../proxy/oci/known-lists.ts'

export const indexType = 'application/vnd.oci.image.index.v1+json'

/**
 * Marks a list that upstream has once given to its end. One without it may be a page, or some of them. It is an annotation, as the list of
 * referrers is given to clients as an index.
 */
const wholeMark = 'layerd.list'
const whole = 'whole'

/** Whether a list that was kept has been whole once. */
export function isWholeList(body: Uint8Array): boolean {
  return annotationsIn(body)[wholeMark] === whole
}

/** A tag list with what was kept before. @param isWhole whether upstream gave it to its end @returns undefined where it is none */
export function mergedTags(name: string, body: Uint8Array, isWhole: boolean, before: Uint8Array | undefined) {
  const tags = tagsIn(body)
  if (tags === undefined) return undefined
  const all = [...new Set([...((before && tagsIn(before)) ?? []), ...tags])].sort()
  const list = { name, tags: all, ...markOf(all, isWhole, before) }
  return { bytes: Buffer.from(JSON.stringify(list)), mediaType: 'application/json' }
}

/** The same of referrers, each once. */
export function mergedReferrers(body: Uint8Array, isWhole: boolean, before: Uint8Array | undefined) {
  const referrers = referrersIn(body)
  if (referrers === undefined) return undefined
  const all = new Map([...((before && referrersIn(before)) ?? []), ...referrers].map((one) => [one.digest, one]))
  const manifests = [...all.values()]
  const list = { schemaVersion: 2, mediaType: indexType, manifests, ...markOf(manifests, isWhole, before) }
  return { bytes: Buffer.from(JSON.stringify(list)), mediaType: indexType }
}

/** A page that is added to a whole list leaves it whole; entries beyond the limit are lost. */
function markOf(entries: readonly unknown[], isWhole: boolean, before: Uint8Array | undefined): object {
  const isMarked = (isWhole || (before !== undefined && isWholeList(before))) && entries.length < maxEntries
  return isMarked ? { annotations: { [wholeMark]: whole } } : {}
}
