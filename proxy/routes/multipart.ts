import { randomBytes } from 'node:crypto'
import type { ByteRange } from '../oci/range.ts'
import type { Content } from '../ports.ts'

/** Random bytes in a boundary: so many are found in no content by chance, whoever has made it. */
const boundaryBytes = 24

/** The answer to a request for several ranges (RFC 9110, 14.6 and 15.3.7.2). */
export interface Multipart {
  /** With the boundary. */
  readonly contentType: string
  /** Bytes of the whole body. */
  readonly length: number
  readonly body: AsyncIterable<Uint8Array>
}

/** Bytes of one of the ranges, by its index. */
interface Piece {
  readonly range: number
  readonly bytes: Uint8Array
}

/**
 * Several ranges of content as one body, in the order given; nothing is read before the body is.
 * @param size bytes of the content
 * @param partType media type of each part
 * @returns undefined where they can't be had without fetching the content again and again
 */
export function multipart(
  content: Content,
  size: number,
  ranges: readonly ByteRange[],
  partType: string,
  signal: AbortSignal,
): Multipart | undefined {
  const isStored = content.origin === 'store'
  if (!isStored && !ascend(ranges)) return undefined
  const pieces = isStored ? readEach(content, ranges, signal) : readThrough(content, ranges, signal)
  const boundary = randomBytes(boundaryBytes).toString('hex')
  const heads = ranges.map(({ start, end }, index) => {
    const delimiter = `${index === 0 ? '' : '\r\n'}--${boundary}\r\n`
    const fields = `Content-Type: ${partType}\r\nContent-Range: bytes ${start}-${end}/${size}\r\n`
    return Buffer.from(`${delimiter}${fields}\r\n`)
  })
  const close = Buffer.from(`\r\n--${boundary}--\r\n`)
  const framing = heads.reduce((sum, { length }) => sum + length, close.length)
  return {
    contentType: `multipart/byteranges; boundary=${boundary}`,
    length: ranges.reduce((sum, { start, end }) => sum + end + 1 - start, framing),
    body: frame(heads, pieces, close),
  }
}

function ascend(ranges: readonly ByteRange[]): boolean {
  return ranges.every(({ start }, index) => start > (ranges[index - 1]?.end ?? -1))
}

async function* readEach(content: Content, ranges: readonly ByteRange[], signal: AbortSignal): AsyncGenerator<Piece> {
  for (const [range, { start, end }] of ranges.entries()) {
    for await (const bytes of content.read(start, end, signal)) yield { range, bytes }
  }
}

/**
 * Cuts all ranges out of one reading. What is being fetched comes whole in any case, and where there is no room to keep it
 * each reading would be a fetch of its own.
 */
async function* readThrough(
  content: Content,
  ranges: readonly ByteRange[],
  signal: AbortSignal,
): AsyncGenerator<Piece> {
  let position = ranges[0]?.start ?? 0
  let next = 0
  for await (const bytes of content.read(position, ranges.at(-1)?.end, signal)) {
    const stop = position + bytes.length
    for (let range = ranges[next]; range !== undefined && range.start < stop; range = ranges[++next]) {
      const { start, end } = range
      yield { range: next, bytes: bytes.subarray(Math.max(0, start - position), Math.min(stop, end + 1) - position) }
      if (end >= stop) break
    }
    position = stop
  }
}

async function* frame(
  heads: readonly Uint8Array[],
  pieces: AsyncIterable<Piece>,
  close: Uint8Array,
): AsyncGenerator<Uint8Array> {
  let last = -1
  for await (const { range, bytes } of pieces) {
    // Only now: until content comes, its failure can still be an error status.
    const head = range === last ? undefined : heads[range]
    last = range
    if (head !== undefined) yield head
    yield bytes
  }
  yield close
}
