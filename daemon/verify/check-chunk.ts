import type { Checkpoints, ClaimedCheckpoints, ProvenCheckpoints } from './checkpoints.ts'
import { chunkLength } from './chunk.ts'
import { linkOf, verdictOf } from './link.ts'
import { ChunkHasher, type Sha256Engine } from './sha256.ts'
import { sameState } from './state.ts'

/**
 * What hashing a chunk along a list says: `wrong` is that the chunk or the list is (see {@link divergence}); `unknown`, that
 * the list has not got that far, or that the hasher began with another list's state.
 */
export type ChunkVerdict = 'fits' | 'wrong' | 'unknown'

/**
 * Whether chunk `index` leads from its state in the list to the next one.
 * @param chunk its bytes, which must not change until the promise settles, or the hasher that was given all of them
 * @throws {RangeError} where there is no such chunk
 */
export async function checkChunk(
  engine: Sha256Engine,
  list: Checkpoints,
  index: number,
  chunk: ChunkHasher | Uint8Array,
): Promise<ChunkVerdict> {
  const before = list.stateAt(index)
  const after = list.stateAt(index + 1)
  if (before === undefined || after === undefined) return 'unknown'
  if (chunk instanceof ChunkHasher && !sameState(chunk.before, before)) return 'unknown'
  if (chunk.length !== chunkLength(index, list.size)) return 'wrong'
  const hasher = chunk instanceof ChunkHasher ? chunk : new ChunkHasher(engine, before)
  if (chunk instanceof Uint8Array) await hasher.push(chunk)
  return verdictOf(list, await linkOf(hasher, index, list.size)) === 'fits' ? 'fits' : 'wrong'
}

/**
 * The chunk that shows which of two complete lists of a blob is false: the last one before which they differ. Both agree on
 * the state after it, and no two states and chunks are known to lead to one state. So, the chunk being fetched from each
 * side, only the side that tells the truth has a state and a chunk that {@link checkChunk} finds to fit.
 * @returns its index, at least 1; undefined where the lists are the same
 * @throws {TypeError} for lists of different blobs
 */
export function divergence(
  a: ClaimedCheckpoints | ProvenCheckpoints,
  b: ClaimedCheckpoints | ProvenCheckpoints,
): number | undefined {
  assertSameBlob(a, b)
  for (let index = a.chunks - 1; index > 0; index -= 1) {
    if (!sameState(a.stateAt(index), b.stateAt(index))) return index
  }
  return undefined
}

/**
 * The first chunk after which two lists differ, as far as both are known; for lists that still grow. The chunk does not
 * show who lies: a false one fits a state that was made from it. Only the end of the blob does, and {@link divergence} then.
 * @param from the first state that is compared, where those before it are known to be the same
 * @returns its index; undefined where what both know is the same
 * @throws {TypeError} for lists of different blobs
 */
export function firstDivergence(a: Checkpoints, b: Checkpoints, from = 1): number | undefined {
  assertSameBlob(a, b)
  for (let index = from; index < a.chunks; index += 1) {
    const [ofA, ofB] = [a.stateAt(index), b.stateAt(index)]
    if (ofA === undefined || ofB === undefined) return undefined
    if (!sameState(ofA, ofB)) return index - 1
  }
  return undefined
}

function assertSameBlob(a: Checkpoints, b: Checkpoints): void {
  if (a.digest !== b.digest || a.size !== b.size) throw new TypeError('the lists are of different blobs')
}
