import type { PlannedBlob } from './blob.ts'
import type { Role, Want } from './messages.ts'

/** This node's part in reading one blob from upstream. */
export interface Part {
  readonly blob: PlannedBlob
  role: Role
  /** Its part in asking neighbours of other sites. */
  far: Role
  /** Parts that it has brought from there. */
  brought: number
  /** Parts that the head has brought, as the coordinator says. */
  headBrought: number
  /** Upstream has refused. */
  isUnable: boolean
  /** Of all that wait for news of the blob, which comes first when none comes; 0 up to 1. */
  readonly rank: number
  /** When it began to read the chunk that is under way, in ms. */
  readAt: number
  /** What it told the coordinator last, and when, in ms. */
  told: Want['wish'] | undefined
  toldAt: number
  /** How many parts it told to have brought from other sites. */
  toldCrossed: number
}
