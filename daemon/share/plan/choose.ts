import type { PlannedBlob } from './blob.ts'
import type { Ask, Wish } from './messages.ts'
import type { Neighbour, View } from './neighbour.ts'

/** What a sender gives: a chunk, from the first part that the asker lacks. */
interface Choice {
  readonly blob: PlannedBlob
  readonly chunk: number
  readonly quarter: number
}

/**
 * The sender's choice. Where a chunk is named, that one, or the next one that it holds and the asker lacks. Otherwise, of what it
 * holds and the asker lacks, in the asker's window:
 * 1. what does not come to the asker already, before what comes late;
 * 2. the chunk with the fewest copies that this node knows of, its own sends counted;
 * 3. the oldest: the one with the least number, which clients read first.
 */
export function choose(
  asker: Neighbour,
  { wishes, oldest }: Pick<Ask, 'wishes' | 'oldest'>,
  blobs: ReadonlyMap<string, PlannedBlob>,
  windowChunks: number,
): Choice | undefined {
  // One wish for a blob counts, and each look at a chunk is cheap, whatever the asker says.
  const lacks = new Map<string, Lack>()
  for (const wish of wishes) {
    const blob = blobs.get(wish.blob)
    const view = asker.views.get(wish.blob)
    if (blob === undefined || view === undefined || lacks.has(wish.blob)) continue
    lacks.set(wish.blob, { blob, view, wish, coming: setOf(wish.coming), late: setOf(wish.late) })
  }
  const named = oldest === undefined ? undefined : lacks.get(oldest.blob)
  return (named && oldest && first(named, oldest.from)) ?? rarest([...lacks.values()], windowChunks)
}

const nothing: ReadonlySet<number> = new Set()

function setOf(chunks: readonly number[]): ReadonlySet<number> {
  return chunks.length === 0 ? nothing : new Set(chunks)
}

/** What an asker lacks of one blob. */
interface Lack {
  readonly blob: PlannedBlob
  readonly view: View
  readonly wish: Wish
  readonly coming: ReadonlySet<number>
  readonly late: ReadonlySet<number>
}

function first(lack: Lack, from: number): Choice | undefined {
  for (let chunk = from; chunk < lack.blob.chunks; chunk++) {
    const quarter = given(lack, chunk)
    if (quarter !== undefined) return { blob: lack.blob, chunk, quarter }
  }
  return undefined
}

function rarest(lacks: readonly Lack[], windowChunks: number): Choice | undefined {
  let best: Choice | undefined
  let bestLate = 0
  let bestCopies = 0
  for (const lack of lacks) {
    const { blob, wish, late } = lack
    const end = Math.min(blob.chunks, wish.first + windowChunks)
    for (let chunk = wish.first; chunk < end; chunk++) {
      const quarter = given(lack, chunk)
      if (quarter === undefined) continue
      const isLate = late.has(chunk) ? 1 : 0
      const copies = blob.copies[chunk] ?? 0
      const order = best === undefined ? -1 : isLate - bestLate || copies - bestCopies || chunk - best.chunk
      if (order >= 0) continue
      best = { blob, chunk, quarter }
      bestLate = isLate
      bestCopies = copies
    }
  }
  return best
}

/** The first part of a chunk that can be given; undefined for none. */
function given({ blob, view, wish, coming }: Lack, chunk: number): number | undefined {
  const parts = blob.partsOf(chunk)
  if (parts === 0 || view.whole.has(chunk) || coming.has(chunk)) return undefined
  const quarter = wish.broken.get(chunk) ?? 0
  return parts > quarter ? quarter : undefined
}
