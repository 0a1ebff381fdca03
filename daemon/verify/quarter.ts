/** Bytes of a quarter: blobs are verified, written, told and released in these; the last one of a blob is shorter. */
export const quarterBytes = 256 * 1024

/** Quarters of a chunk, which is what a question between nodes is answered with. */
export const quartersPerChunk = 4

/** Bytes of a chunk; the last one of a blob is shorter. */
export const chunkBytes = quartersPerChunk * quarterBytes

/**
 * How many quarters a blob of `size` bytes has; an empty one has one, which is empty.
 * @throws {RangeError} where that is not a size
 */
export function quarterCount(size: number): number {
  return partCount(size, quarterBytes)
}

/** How many chunks a blob of `size` bytes has; an empty one has one, which is empty. @throws {RangeError} as `quarterCount` */
export function chunkCount(size: number): number {
  return partCount(size, chunkBytes)
}

function partCount(size: number, partBytes: number): number {
  if (!Number.isSafeInteger(size) || size < 0) throw new RangeError(`${size} is not a number of bytes`)
  return Math.max(1, Math.ceil(size / partBytes))
}

/** Bytes in the quarter at `index` of a blob of `size` bytes. */
export function quarterLength(index: number, size: number): number {
  return Math.max(0, Math.min(quarterBytes, size - index * quarterBytes))
}

/** Where the last quarter of a blob of `size` bytes begins. */
export function lastQuarterStart(size: number): number {
  return size === 0 ? 0 : Math.floor((size - 1) / quarterBytes) * quarterBytes
}

/**
 * How many bytes from the start may be given to clients of a blob of which `readable` bytes have arrived and whose digest
 * is not proven yet: all but the last quarter, so that nobody can take a wrong body for a complete one.
 * @param size undefined where nobody knows how long the blob is
 */
export function releasableBytes(readable: number, size: number | undefined): number {
  return Math.min(readable, lastQuarterStart(size ?? readable))
}
