import type { Digest } from '../../proxy/oci/digest.ts'
import type { Content, ContentInfo } from '../../proxy/ports.ts'
import { type HashedPrefix, prove } from '../verify/prove.ts'
import type { Sequence } from './sequence.ts'

interface PassThroughOptions {
  readonly sequence: Pick<Sequence, 'read'>
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
    // A copy, which `slice` of a Buffer is not.
    if (position <= stop && stop < position + chunk.length) last = Uint8Array.of(chunk[stop - position] ?? 0)
    position += chunk.length
  }
  if (last !== undefined) yield last
}

/**
 * Content that is kept nowhere: it goes from a sequence to one client. Waits until a source has answered.
 * @param newSequence a sequence that tells what its source says of the content
 * @throws what the sequence throws
 */
export async function passedContent(
  newSequence: (onFacts: (facts: ContentInfo) => void) => Pick<Sequence, 'read'>,
  digest: Digest,
  signal: AbortSignal,
): Promise<Content> {
  const answered = Promise.withResolvers<ContentInfo>()
  const closed = new AbortController()
  const chunks = newSequence(answered.resolve).read(0, AbortSignal.any([signal, closed.signal]))
  const first = chunks.next()
  // A failure after the answer is told to the one who reads.
  first.catch(() => {})
  const close = async () => {
    closed.abort(new Error('nobody reads it any more'))
    await chunks.return().catch(() => {})
  }
  try {
    const { size, mediaType, origin } = await Promise.race([answered.promise, first.then(() => answered.promise)])
    const sequence = { read: () => readOn(first, chunks) }
    return {
      size,
      mediaType,
      origin,
      read: (start, end, readSignal) => {
        const stop = end ?? (size ?? Number.POSITIVE_INFINITY) - 1
        return passThrough({ sequence, digest, size, prefix: undefined }, start, stop, readSignal)
      },
      close,
    }
  } catch (error) {
    await close()
    throw error
  }
}

async function* readOn(
  first: Promise<IteratorResult<Uint8Array, void>>,
  rest: AsyncGenerator<Uint8Array, void, void>,
): AsyncGenerator<Uint8Array, void, void> {
  const { value } = await first
  if (value === undefined) return
  yield value
  yield* rest
}
