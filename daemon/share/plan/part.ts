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
