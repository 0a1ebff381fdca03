import type { Digest } from '../../proxy/oci/digest.ts'
import { type HashedPrefix, prove } from '../verify/prove.ts'
import type { Sequence } from './sequence.ts'

interface PassThroughOptions {
  readonly sequence: Sequence
  readonly digest: Digest
  /** Bytes of the whole blob, if known. */
  readonly size: number | undefined
  /** What was received and hashed before; the sequence goes on behind it. */
  readonly prefix: HashedPrefix | undefined
}

/** A client's part of a blob of `size` bytes that the store has no room for: bytes `start` to `end` inclusive. */
export interface PassedRange {
  readonly size: number
  readonly start: number
  readonly end: number
  /** What the client has got already, from the first byte on. */
  readonly prefix: HashedPrefix | undefined
  readonly signal: AbortSignal
}

/**
 * Bytes `start` to `stop` inclusive of a blob that the store has no room for, from a sequence of one client's own. The whole
 * rest of the blob is read, as nothing less proves it; the last byte asked for is given only then.
 * @throws {DigestMismatch}, or what the sequence throws
 */
export async function* passThrough(
  { sequence, digest, size, prefix }: PassThroughOptions,
  start: number,
  stop: number,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array, void, void> {
  let position = prefix?.length ?? 0
  let last: Uint8Array | undefined
  for await (const chunk of prove(sequence.read(position, signal), digest, size, prefix)) {
    const from = Math.max(0, start - position)
    const to = Math.min(chunk.length, stop - position)
    if (from < to) yield chunk.subarray(from, to)
    if (position <= stop && stop < position + chunk.length) last = chunk.slice(stop - position, stop - position + 1)
    position += chunk.length
  }
  if (last !== undefined) yield last
}
