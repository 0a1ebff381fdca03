import type { Ask, Wish } from './messages.ts'
import { canGive, type Neighbour, type View } from './neighbour.ts'
import { isLeftToSite, leftToSite } from './site.ts'
import type { State } from './state.ts'

// What a neighbour is asked.

/**
 * Whether a neighbour has something of use: in the window of a blob, the first part of a chunk of which none is here, or all of one
 * that is here in part; or, where a chunk may be named, one that a client waits for.
 */
export function isUseful(state: State, { views, isFar }: Neighbour, mayName: boolean): boolean {
  const { numbers } = state
  for (const view of views.values()) {
    const { blob } = view
    if (view.begun.count === 0 || !blob.isAskedFor) continue
    const { wanted, untouched, first } = blob
    const end = first + numbers.windowChunks
    if (mayName && urgentAt(state, view, isFar) !== undefined) return true
    if (isFar) {
      if (crosses(state, view)) return true
      continue
    }
    if (untouched.meets(view.begun, first, end)) return true
    if (blob.begun.size > 0 && wanted.meets(view.whole, first, end)) return true
  }
  return false
}

/** Whether a chunk may be named in a question: one question at a time does, until it is known what comes as its answer. */
export function mayNameChunk({ receiving }: State): boolean {
  for (const { answers } of receiving)
    for (const { isOldest, blob } of answers) if (isOldest && blob === undefined) return false
  return true
}

/** The chunk that a question names: one that a client waits for, or the first one while much is held beyond a gap. */
export function oldestOf(state: State, { views, isFar }: Neighbour): Ask['oldest'] {
  if (!mayNameChunk(state)) return undefined
  for (const view of views.values()) {
    const from = urgentAt(state, view, isFar)
    if (from !== undefined) return { blob: view.blob.id, from }
  }
  // Of these one is under way at a time: more would cost diversity.
  for (const { answers } of state.receiving) for (const { isOldest } of answers) if (isOldest) return undefined
  for (const { blob, begun } of views.values()) {
    const { id, first: from, wanted } = blob
    if (isFar && isLeftToSite(state, blob, from)) continue
    if (blob.isAskedFor && blob.hasGap(state.numbers.gapChunks) && wanted.has(from) && begun.has(from))
      return { blob: id, from }
  }
  return undefined
}

/** What is lacking of the blobs in which the neighbour takes part. */
export function wishesOf(state: State, { views, isFar }: Neighbour): Wish[] {
  const { receiving } = state
  const wishes: Wish[] = []
  for (const { blob } of views.values()) {
    if (!blob.isAskedFor || (isFar && blob.leftToSite === 'all')) continue
    const { id, first } = blob
    const left = isFar ? leftToSite(state, blob) : []
    const late: number[] = []
    for (const { answers } of receiving)
      for (const answer of answers)
        if (answer.blob === blob && answer.isLate && !blob.coming.has(answer.chunk)) late.push(answer.chunk)
    const broken = new Map<number, number>()
    for (const chunk of blob.begun) if (!blob.coming.has(chunk)) broken.set(chunk, blob.partsOf(chunk))
    // Raw chunks come as well; nobody sends those before the first one that is lacking.
    const coming = [...blob.coming.keys(), ...left].filter((chunk) => chunk >= first)
    wishes.push({ blob: id, first, coming, late, broken })
  }
  return wishes
}

/** Whether a neighbour of another site has something in the window that is not left to those of this one. */
function crosses(state: State, view: View): boolean {
  const { blob } = view
  const { first, wanted } = blob
  if (blob.leftToSite === 'all' || (!blob.isSiteHead && isAskingFar(state))) return false
  const end = Math.min(first + state.numbers.windowChunks, blob.chunks)
  for (let chunk = first; chunk < end; chunk++)
    if (wanted.has(chunk) && canGive(view, chunk) && !isLeftToSite(state, blob, chunk)) return true
  return false
}

function isAskingFar({ receiving }: State): boolean {
  for (const { from } of receiving) if (from.isFar) return true
  return false
}

/** The first chunk that clients wait for and the neighbour can bring. */
function urgentAt(state: State, view: View, isFar: boolean): number | undefined {
  const { blob } = view
  if (!blob.isAskedFor) return undefined
  for (const chunk of blob.urgent) {
    if (!blob.wanted.has(chunk) || (isFar && isLeftToSite(state, blob, chunk))) continue
    if (canGive(view, chunk)) return chunk
  }
  return undefined
}
