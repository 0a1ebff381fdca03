import { OciError } from '../../proxy/oci/errors.ts'
import { StoreError } from '../store/errors.ts'
import { isFullDisk } from '../store/start-room.ts'
import { DigestMismatch } from '../verify/mismatch.ts'

/**
 * What a client is told where a push can't be kept. A full store is DENIED with 403: of an answer like that, clients show the text
 * and end; of 507, Docker shows the number only, and tries four times more.
 */
function pushError(error: unknown): unknown {
  if (error instanceof DigestMismatch) return new OciError('DIGEST_INVALID', error.message, { cause: error })
  const isFull = isFullDisk(error) || (error instanceof StoreError && ['quota', 'no-space'].includes(error.code))
  if (isFull) {
    const text = `there is no room for it on this node: ${(error as Error).message}`
    return new OciError('DENIED', text, { cause: error })
  }
  if (error instanceof StoreError && error.code === 'truncated')
    return new OciError('BLOB_UPLOAD_UNKNOWN', error.message, { cause: error })
  if (error instanceof StoreError) return new OciError('UNAVAILABLE', error.message, { cause: error })
  return error
}

/** Runs a part of a push. @throws what {@link pushError} makes of what it throws */
export async function pushing<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    throw pushError(error)
  }
}
