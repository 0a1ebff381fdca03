/**
 * - `locked`: another process uses the data directory
 * - `no-space`: the disk is full, or the quota can't make room (blob larger than it, or all of it in use)
 * - `mismatch`: the bytes are not what the digest names
 * - `truncated`: a blob's file ended early
 */
export type StoreErrorCode = 'locked' | 'no-space' | 'mismatch' | 'truncated'

export class StoreError extends Error {
  readonly code: StoreErrorCode

  constructor(code: StoreErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'StoreError'
    this.code = code
  }
}

const fullDiskCodes: ReadonlySet<unknown> = new Set(['ENOSPC', 'EDQUOT', 'EFBIG'])

/** Whether a file system call failed because there is no room. */
export function isDiskFull(error: unknown): boolean {
  return fullDiskCodes.has((error as NodeJS.ErrnoException | undefined)?.code)
}
