/** Blobs are moved and released in slices of this many bytes; the last one is shorter. */
export const chunkBytes = 1024 * 1024

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
