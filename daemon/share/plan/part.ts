import type { PlannedBlob } from './blob.ts'
import type { Role, Want } from './messages.ts'

/** This node's part in reading one blob from upstream. */
export interface Part {
  readonly blob: PlannedBlob
  role: Role
  /** Its part in asking neighbours of other sites. */
  far: Role
  /** Parts that it has brought from upstream. */
  brought: number
  /** Parts that the head has brought, as the coordinator says. */
  headBrought: number
  /** How often that was news since more was to be seen, and how much that was. */
  believed: number
  known: number
  /** Upstream has refused. */
  isUnable: boolean
  /** Whether a neighbour had all of it before its size was known. */
  isOffered: boolean
  /** Of all that wait for news of the blob, which comes first when none comes; 0 up to 1. */
  readonly rank: number
  /** What it told the coordinator last, and when, in ms. */
  told: Want['wish'] | undefined
  toldAt: number
  /** How many parts it told to have brought from other sites. */
  toldCrossed: number
}

/**
 * The coordinator says how many parts the head has brought. That is news like a neighbour's, once for each part of two chunks, until
 * more is to be seen: a stranger's word holds nobody back for longer than a chunk takes.
 * @returns whether it is news
 */
export function believe(part: Part, brought: number, quarters: number): boolean {
  const { known } = part.blob
  if (known > part.known) part.believed = 0
  part.known = known
  const isNews = brought > part.headBrought && brought <= (known + 1) * quarters && part.believed < 2 * quarters
  if (isNews) part.believed++
  part.headBrought = brought
  return isNews
}

/** @param rank see {@link Part.rank} @param now in ms */
export function newPart(blob: PlannedBlob, rank: number, now: number): Part {
  return {
    blob,
    role: 'none',
    far: 'none',
    brought: 0,
    headBrought: 0,
    believed: 0,
    known: 0,
    isUnable: false,
    isOffered: false,
    rank,
    told: undefined,
    toldAt: now,
    toldCrossed: 0,
  }
}
