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

/** Ranges of one request that are answered. podman asks for up to 1024 parts of a zstd:chunked layer; more are ignored. */
const maxRanges = 1024

const rangePattern = /^(\d{0,15})\s*-\s*(\d{0,15})$/

/**
 * Reads a `Range` header (RFC 9110, 14.1.2). Other units, malformed ranges and too many of them give undefined: the RFC lets
 * a server ignore the header and answer 200 with the whole body, which is what podman accepts too. A range that ends before it
 * begins is one that lies nowhere, as the public conformance suite has it.
 */
export function parseRanges(header: string | undefined): readonly RangeSpec[] | undefined {
  const list = /^bytes\s*=(.*)$/is.exec(header?.trim() ?? '')?.[1] ?? ''
  // RFC 9110, 5.6.1: empty elements of a list are ignored.
  const items = list.split(',').filter((item) => item.trim() !== '')
  if (items.length > maxRanges) return undefined
  const specs = items.map((item) => parseSpec(item.trim())).filter((spec) => spec !== undefined)
  const isReadable = specs.length > 0 && specs.length === items.length
  return isReadable && (specs.length === 1 || !specs.some(isBackwards)) ? specs : undefined
}

function isBackwards(spec: RangeSpec): boolean {
  return spec.kind === 'from' && spec.end !== undefined && spec.end < spec.start
}

/** Reads a `Range` header of a single range; several give undefined. */
export function parseRange(header: string | undefined): RangeSpec | undefined {
  const specs = parseRanges(header)
  return specs?.length === 1 ? specs[0] : undefined
}

function parseSpec(text: string): RangeSpec | undefined {
  const match = rangePattern.exec(text)
  if (match === null) return undefined
  const [, first = '', last = ''] = match
  if (first === '') return last === '' ? undefined : { kind: 'suffix', length: Number(last) }
  const start = Number(first)
  if (last === '') return { kind: 'from', start }
  return { kind: 'from', start, end: Number(last) }
}

/**
 * The bytes that a range means in a body of `size` bytes.
 * @throws {OciError} RANGE_INVALID with `Content-Range: bytes * /size` where it lies outside (RFC 9110, 15.5.17)
 */
export function resolveRange(spec: RangeSpec, size: number): ByteRange {
  const range = locate(spec, size)
  if (range === undefined) throw outside(size)
  return range
}

/**
 * The bytes that each of several ranges means, in the order asked for, without those that lie outside. They are not joined
 * where they touch, which RFC 9110, 15.3.7.2 would allow: podman counts the parts and refuses any other number than it asked for.
 * @returns undefined where they are more bytes than the body has; the whole is the shorter answer (RFC 9110, 17.15)
 * @throws {OciError} RANGE_INVALID where all lie outside
 */
export function resolveRanges(specs: readonly RangeSpec[], size: number): readonly ByteRange[] | undefined {
  const ranges = specs.map((spec) => locate(spec, size)).filter((range) => range !== undefined)
  if (ranges.length === 0) throw outside(size)
  return ranges.reduce((sum, { start, end }) => sum + end + 1 - start, 0) > size ? undefined : ranges
}

function locate(spec: RangeSpec, size: number): ByteRange | undefined {
  const start = spec.kind === 'from' ? spec.start : Math.max(0, size - spec.length)
  const end = spec.kind === 'from' ? Math.min(spec.end ?? size - 1, size - 1) : size - 1
  return start >= size || end < start ? undefined : { start, end }
}

function outside(size: number): OciError {
  return new OciError('RANGE_INVALID', `the range lies outside the content, which has ${size} bytes`, {
    headers: { 'Content-Range': `bytes */${size}` },
  })
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

const chunkRangePattern = /^(?:bytes[= ])?\s*(\d{1,15})-(\d{1,15})(?:\/(?:\d{1,15}|\*))?$/i

/**
 * Reads the `Content-Range` of a chunk that is pushed, such as `0-1023` (distribution-spec 1.1, "Pushing a blob in chunks"). Some
 * clients write it as RFC 9110 has it.
 * @returns undefined where it is malformed
 */
export function parseChunkRange(header: string): ByteRange | undefined {
  const match = chunkRangePattern.exec(header.trim())
  if (match === null) return undefined
  const [start, end] = [Number(match[1]), Number(match[2])]
  return end < start ? undefined : { start, end }
}
