import { algorithmOf, createDigestHash } from '../../../proxy/oci/digest.ts'
import type { ContentRequest } from '../../../proxy/ports.ts'
import type { HashedPrefix } from '../../verify/prove.ts'
import { quarterBytes } from '../../verify/quarter.ts'
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
 * The bytes for one client, in order, as they become releasable. Of a whole blob the last quarter is withheld until the digest
 * is proven. A range is over before that, so its last byte is withheld until its quarters are upstream's own, or fit a list
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
        // Who may read, and what, may have changed meanwhile, or a quarter been dropped that this is a half of.
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
 * Bytes `start` to `end` (inclusive) of quarters that are held, for a peer.
 * @throws {Error} where they are not held, or quarters were dropped meanwhile: a mixture would look like a lie of this node
 */
export async function* readHeld(
  assembly: Assembly,
  start: number,
  end: number,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array, void, void> {
  const { drops, held } = assembly
  const isHeld = held.firstMissing(Math.floor(start / quarterBytes)) * quarterBytes > end
  if (!isHeld) throw new Error('these quarters are not held any more')
  for await (const bytes of assembly.partial.read(start, end, signal)) {
    if (assembly.drops !== drops) throw new Error('quarters were dropped while they were read')
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
  const last = assembly.quarters - 1
  const has = (quarter: number) => assembly.held.has(quarter) || (isRange && assembly.raw.has(quarter))
  let quarter = Math.floor(position / quarterBytes)
  // What completes the blob proves it first.
  while ((quarter < last || isRange) && quarter <= last && quarter * quarterBytes <= end && has(quarter)) quarter++
  const limit = Math.min(quarter * quarterBytes, end + 1)
  return limit <= end || isSettled(assembly, position, end) ? limit : end
}

/** Whether a range may be completed before the whole is proven. */
function isSettled(assembly: Assembly, position: number, end: number): boolean {
  if (assembly.isListComplete) return true
  for (let quarter = Math.floor(position / quarterBytes); quarter * quarterBytes <= end; quarter++) {
    if (!assembly.raw.has(quarter) && assembly.authorOf(quarter) !== 'self') return false
  }
  return true
}
