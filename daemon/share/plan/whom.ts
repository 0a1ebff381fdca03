import type { Neighbour } from './neighbour.ts'
import { isUseful, mayNameChunk } from './question.ts'
import type { State } from './state.ts'

/**
 * A neighbour, drawn from all that may give something; of strangers, first from those that were never tried.
 * @returns also when one that could give something may be asked again, in ms
 */
export function drawSomeone(state: State): { readonly found: Neighbour | undefined; readonly askableAt: number } {
  const { neighbours, now, random, numbers, arrears } = state
  const mayName = mayNameChunk(state)
  const isOpen = arrears !== undefined
  let found: Neighbour | undefined
  let seen = 0
  let nextAt = Number.POSITIVE_INFINITY
  for (const neighbour of neighbours.values()) {
    const { free, saidNone, restsUntil, heardAt, receiving, isTried } = neighbour
    if (saidNone || receiving !== undefined) continue
    // One that has said nothing for long may have left in silence: that it had no place is no reason not to ask.
    const askableAt = Math.max(restsUntil, free > 0 ? 0 : heardAt + numbers.headLateMs)
    if (askableAt > now && askableAt >= nextAt) continue
    if (!isUseful(state, neighbour, mayName)) continue
    if (askableAt > now) nextAt = askableAt
    else if (isOpen && found?.isTried === !isTried) {
      if (isTried) continue
      found = neighbour
      seen = 1
    } else if (random() * ++seen < 1) found = neighbour
  }
  return { found, askableAt: nextAt }
}

/** Whether strangers could be asked that never were. */
export function hasUntried(state: State): boolean {
  if (state.arrears === undefined) return false
  const mayName = mayNameChunk(state)
  for (const neighbour of state.neighbours.values())
    if (!neighbour.isTried && neighbour.free > 0 && isUseful(state, neighbour, mayName)) return true
  return false
}
