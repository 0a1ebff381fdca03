import { OciError } from './errors.ts'

interface Page {
  readonly entries: readonly string[]
  /** The query of the next page; undefined for the last one. */
  readonly next: string | undefined
}

/**
 * A part of a sorted list (distribution-spec 1.1, "Listing Tags"): `n` entries at most, those behind `last`.
 * @param query of the request
 * @throws {OciError} where `n` is not a number
 */
export function pageOf(sorted: readonly string[], query: string): Page {
  const parameters = new URLSearchParams(query)
  const last = parameters.get('last') ?? ''
  const n = parameters.get('n') ?? ''
  if (!/^\d{0,9}$/.test(n))
    throw new OciError('UNSUPPORTED', `n is to be a number, not "${n.slice(0, 50)}"`, { status: 400 })
  const rest = last === '' ? sorted : sorted.filter((entry) => entry > last)
  const limit = n === '' ? rest.length : Number(n)
  const entries = rest.slice(0, limit)
  const end = entries.at(-1)
  const hasMore = rest.length > limit && end !== undefined
  return { entries, next: hasMore ? `n=${n}&last=${encodeURIComponent(end)}` : undefined }
}
