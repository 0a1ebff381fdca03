import type { LeftToSite, PlannedBlob } from './blob.ts'
import type { Role } from './messages.ts'
import { canGive } from './neighbour.ts'
import type { State } from './state.ts'

// Neighbours of other sites are behind a thin line: a chunk comes from there once, as it comes from upstream once.

/** What is left to the own site. @param patiences how often for its patience nothing new has come to this node */
export function whatIsLeft(far: Role, patiences: number): LeftToSite {
  if (patiences >= 2) return patiences >= 3 ? 'nothing' : 'whole'
  return far !== 'none' || patiences === 1 ? 'begun' : 'all'
}

/** Whether no neighbour of another site is to be asked for a chunk: one of this site has it, or somebody else brings it here. */
export function isLeftToSite({ neighbours }: State, blob: PlannedBlob, chunk: number): boolean {
  const { leftToSite: left, id } = blob
  if (left === 'all' || left === 'nothing') return left === 'all'
  for (const { views, isFar, isTrusted } of neighbours.values()) {
    const view = isFar || !isTrusted ? undefined : views.get(id)
    if (view !== undefined && (left === 'whole' ? view.whole.has(chunk) : canGive(view, chunk))) return true
  }
  return false
}

/** Those chunks in the window. */
export function leftToSite(state: State, blob: PlannedBlob): number[] {
  const left: number[] = []
  const end = Math.min(blob.first + state.numbers.windowChunks, blob.chunks)
  for (let chunk = blob.first; chunk < end; chunk++)
    if (blob.wanted.has(chunk) && isLeftToSite(state, blob, chunk)) left.push(chunk)
  return left
}
