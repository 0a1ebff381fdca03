import { algorithmOf, createDigestHash } from '../../../proxy/oci/digest.ts'
import type { ContentRequest } from '../../../proxy/ports.ts'
import { chunkBytes } from '../../verify/chunk.ts'
import type { HashedPrefix } from '../../verify/prove.ts'
import type { Notifier } from '../notifier.ts'
import type { Assembly } from './assembly.ts'

/** A client that may have the blob. */
export interface Reader {
  readonly size: number
  readonly request: ContentRequest
  /** Whether it may not have it any more. */
  readonly isRevoked: () => boolean
}

/** A client that reads bytes `start` to `end` (inclusive). */
export interface Reading {
  readonly start: number
  readonly end: number
  /** The next byte that it gets. */
  position: number
  /** Whether it asked for a part only. */
  readonly isRange: boolean
  /** Why it can't go on, though others can. */
  broken?: Error
}

/** What a reader sees of a download. */
interface Readable {
  readonly assembly: Assembly | undefined
  readonly changed: Notifier
  /** Why there will be no more; undefined while there may be. */
  readonly failure: Error | undefined
}

/**
 * The bytes for one client, in order, as they become releasable. Of a whole blob the last chunk is withheld until the digest
 * is proven. A range is over before that, so its last byte is withheld until its chunks are upstream's own, or fit a list
 * that ends in the digest.
 * @param readable gives the present state; throws where the client can't go on
 */
export async function* readAsItComes(
  readable: () => Readable,
  reading: Reading,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array, void, void> {
  for (;;) {
    const { assembly, changed, failure } = readable()
    const isProven = assembly?.proven !== undefined
    // Also for an empty blob, of which no byte shows that it is right.
    if (reading.position > reading.end && (isProven || reading.isRange)) return
    const limit = assembly === undefined ? 0 : releasable(assembly, reading)
    if (assembly !== undefined && reading.position < limit) {
      const { drops } = assembly
      for await (const bytes of assembly.partial.read(reading.position, limit - 1, signal)) {
        // Who may read, and what, may have changed meanwhile, or a chunk been dropped that this is a half of.
        if (readable().assembly !== assembly || assembly.drops !== drops) break
        reading.position += bytes.length
        yield bytes
      }
    } else {
      if (failure !== undefined) throw failure
      await changed.next(signal)
    }
  }
}

/**
 * Bytes `start` to `end` (inclusive) of chunks that are held, for a peer.
 * @throws {Error} where they are not held, or chunks were dropped meanwhile: a mixture would look like a lie of this node
 */
export async function* readHeld(
  assembly: Assembly,
  start: number,
  end: number,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array, void, void> {
  const { drops, held } = assembly
  const isHeld = held.firstMissing(Math.floor(start / chunkBytes)) * chunkBytes > end
  if (!isHeld) throw new Error('these chunks are not held any more')
  for await (const bytes of assembly.partial.read(start, end, signal)) {
    if (assembly.drops !== drops) throw new Error('chunks were dropped while they were read')
    yield bytes
  }
}

/** What a client has got from the first byte to `length`, hashed, so that the rest can be proven together with it. */
export async function hashedPrefix(assembly: Assembly, length: number, signal: AbortSignal): Promise<HashedPrefix> {
  const hash = createDigestHash(algorithmOf(assembly.partial.digest))
  for await (const bytes of assembly.partial.read(0, length - 1, signal)) hash.update(bytes)
  return { length, hash }
}

/** The position up to which bytes may be given, from the reader's on. */
function releasable(assembly: Assembly, { position, end, isRange }: Reading): number {
  if (assembly.proven !== undefined) return end + 1
  const last = assembly.chunks - 1
  const has = (chunk: number) => assembly.held.has(chunk) || (isRange && assembly.raw.has(chunk))
  let chunk = Math.floor(position / chunkBytes)
  // What completes the blob proves it first.
  while ((chunk < last || isRange) && chunk <= last && chunk * chunkBytes <= end && has(chunk)) chunk++
  const limit = Math.min(chunk * chunkBytes, end + 1)
  return limit <= end || isSettled(assembly, position, end) ? limit : end
}

/** Whether a range may be completed before the whole is proven. */
function isSettled(assembly: Assembly, position: number, end: number): boolean {
  if (assembly.isListComplete) return true
  for (let chunk = Math.floor(position / chunkBytes); chunk * chunkBytes <= end; chunk++) {
    if (!assembly.raw.has(chunk) && assembly.authorOf(chunk) !== 'self') return false
  }
  return true
}
