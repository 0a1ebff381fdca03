import { constants } from 'node:os'

/**
 * - `locked`: another process uses the data directory
 * - `no-space`: the disk is full, or would be
 * - `quota`: the quota can't make room (blob larger than it, or all of it in use)
 * - `io`: the disk can't be written for another reason
 * - `truncated`: a blob's file ended early
 */
export type StoreErrorCode = 'locked' | 'no-space' | 'quota' | 'io' | 'truncated'

export class StoreError extends Error {
  readonly code: StoreErrorCode

  constructor(code: StoreErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'StoreError'
    this.code = code
  }
}

/** By number, as Node.js has no name for EDQUOT; there it is negative. */
const { ENOSPC, EDQUOT, EFBIG } = constants.errno
const fullDisk: ReadonlySet<unknown> = new Set([-ENOSPC, -EDQUOT, -EFBIG])

/** The error for a write that failed. */
export function writeError(cause: unknown): StoreError {
  const { errno, message } = cause as NodeJS.ErrnoException
  if (fullDisk.has(errno)) return new StoreError('no-space', 'the disk of the data directory is full', { cause })
  return new StoreError('io', `the data directory can't be written: ${message}`, { cause })
}

/** Whether a blob can't be kept, as opposed to being wrong: it can still be passed through. */
export function isUnstorable(error: unknown): boolean {
  return error instanceof StoreError && ['no-space', 'quota', 'io'].includes(error.code)
}
