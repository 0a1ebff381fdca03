import type { PlannedBlob } from './blob.ts'
import type { Ask, Wish } from './messages.ts'
import type { Neighbour } from './neighbour.ts'

/** What a sender gives: a chunk, from the first part that the asker lacks. */
interface Choice {
  readonly blob: PlannedBlob
  readonly chunk: number
  readonly quarter: number
}

/**
 * The sender's choice. Of what it holds and the asker lacks, in the asker's window:
 * 1. what does not come to the asker already, before what comes late;
 * 2. the chunk with the fewest copies that this node knows of, its own sends counted;
 * 3. the oldest: the one with the least number, which clients read first.
 * A question for the oldest chunk of a blob turns 2 and 3 around.
 */
export function choose(
  asker: Neighbour,
  { wishes, oldest }: Pick<Ask, 'wishes' | 'oldest'>,
  blobs: ReadonlyMap<string, PlannedBlob>,
  windowChunks: number,
): Choice | undefined {
  let best: Choice | undefined
  let bestLate = 2
  let bestCopies = 0
  let bestAge = 0
  for (const wish of wishes) {
    const blob = blobs.get(wish.blob)
    const view = asker.views.get(wish.blob)
    if (blob === undefined || view === undefined) continue
    const end = Math.min(blob.chunks, wish.first + windowChunks)
    for (let chunk = wish.first; chunk < end; chunk++) {
      const parts = blob.partsOf(chunk)
      if (parts === 0 || view.whole.has(chunk) || wish.coming.includes(chunk)) continue
      const quarter = wish.broken.get(chunk) ?? 0
      if (parts <= quarter) continue
      const late = isLate(wish, chunk)
      const copies = oldest === wish.blob ? -1 : (blob.copies[chunk] ?? 0)
      const age = chunk
      if (late > bestLate) continue
      if (late === bestLate && (copies > bestCopies || (copies === bestCopies && age >= bestAge))) continue
      best = { blob, chunk, quarter }
      bestLate = late
      bestCopies = copies
      bestAge = age
    }
  }
  return best
}

function isLate({ late }: Wish, chunk: number): number {
  return late.includes(chunk) ? 1 : 0
}
