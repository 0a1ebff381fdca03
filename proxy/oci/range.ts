import { OciError } from './errors.ts'

/** Bytes `start` up to and including `end` of a body of known size. */
export interface ByteRange {
  readonly start: number
  readonly end: number
}

/** A `Range` header before the size is known: from–to, from on, or the last n bytes. */
export type RangeSpec =
  | { readonly kind: 'from'; readonly start: number; readonly end?: number }
  | { readonly kind: 'suffix'; readonly length: number }

const rangePattern = /^bytes\s*=\s*(\d{0,15})\s*-\s*(\d{0,15})$/i

/**
 * Reads a `Range` header (RFC 9110, 14.1.2). Several ranges, other units and malformed ones give undefined:
 * the RFC lets a server ignore the header and answer 200 with the whole body, which is what podman accepts too.
 */
export function parseRange(header: string | undefined): RangeSpec | undefined {
  const match = header === undefined ? null : rangePattern.exec(header.trim())
  if (match === null) return undefined
  const [, first = '', last = ''] = match
  if (first === '') return last === '' ? undefined : { kind: 'suffix', length: Number(last) }
  const start = Number(first)
  if (last === '') return { kind: 'from', start }
  const end = Number(last)
  return end < start ? undefined : { kind: 'from', start, end }
}

/**
 * The bytes that a range means in a body of `size` bytes.
 * @throws {OciError} RANGE_INVALID with `Content-Range: bytes * /size` where it lies outside (RFC 9110, 15.5.17)
 */
export function resolveRange(spec: RangeSpec, size: number): ByteRange {
  const start = spec.kind === 'from' ? spec.start : Math.max(0, size - spec.length)
  const end = spec.kind === 'from' ? Math.min(spec.end ?? size - 1, size - 1) : size - 1
  if (start >= size || end < start) {
    throw new OciError('RANGE_INVALID', `the range lies outside the content, which has ${size} bytes`, {
      headers: { 'Content-Range': `bytes */${size}` },
    })
  }
  return { start, end }
}

const contentRangePattern = /^bytes\s+(\d{1,15})-(\d{1,15})\/(?:(\d{1,15})|\*)$/i

/** Reads a `Content-Range` response header; undefined where it is not one of bytes. */
export function parseContentRange(header: string | undefined): (ByteRange & { readonly size?: number }) | undefined {
  const match = header === undefined ? null : contentRangePattern.exec(header.trim())
  if (match === null) return undefined
  const start = Number(match[1])
  const end = Number(match[2])
  const size = match[3] === undefined ? undefined : Number(match[3])
  if (end < start || (size !== undefined && end >= size)) return undefined
  return { start, end, ...(size === undefined ? {} : { size }) }
}
