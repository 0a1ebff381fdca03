/** Blobs are moved and released in slices of this many bytes; the last one is shorter. */
export const chunkBytes = 1024 * 1024

/**
 * How many chunks a blob of `size` bytes has; an empty one has one, which is empty.
 * @throws {RangeError} where that is not a size
 */
export function chunkCount(size: number): number {
  if (!Number.isSafeInteger(size) || size < 0) throw new RangeError(`${size} is not a number of bytes`)
  return Math.max(1, Math.ceil(size / chunkBytes))
}

/** Bytes in the chunk at `index` of a blob of `size` bytes. */
export function chunkLength(index: number, size: number): number {
  return Math.max(0, Math.min(chunkBytes, size - index * chunkBytes))
}

/** Where the last chunk of a blob of `size` bytes begins. */
export function lastChunkStart(size: number): number {
  return size === 0 ? 0 : Math.floor((size - 1) / chunkBytes) * chunkBytes
}

/**
 * How many bytes from the start may be given to clients of a blob of which `readable` bytes have arrived and whose digest
 * is not proven yet: all but the last chunk, so that nobody can take a wrong body for a complete one.
 * @param size undefined where nobody knows how long the blob is
 */
export function releasableBytes(readable: number, size: number | undefined): number {
  return Math.min(readable, lastChunkStart(size ?? readable))
}
