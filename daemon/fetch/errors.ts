import { OciError, type OciErrorCode } from '../../proxy/oci/errors.ts'
import { UpstreamError } from '../../proxy/upstream/types.ts'

/** What could not be had: decides the code of a 404. */
export type Subject = 'manifest' | 'blob' | 'repository'

const unknownCode: Readonly<Record<Subject, OciErrorCode>> = {
  manifest: 'MANIFEST_UNKNOWN',
  blob: 'BLOB_UNKNOWN',
  repository: 'NAME_UNKNOWN',
}

/** Who else was asked, where upstream could not answer. */
export const noPeerHasIt = 'no peer has it either'
export const nobodyElseIsAsked = 'by the rules of this node nobody else is asked'
export const tagsAreNotAsked = 'peers are not asked what a tag is (tags.trustPeers)'

/**
 * What a client is told when content can't be had. Only statuses after which clients go on to their next mirror: never 429
 * or 408, which make them wait or try again at once.
 * @param others who else was asked
 */
export function toOciError(error: unknown, subject: Subject, description: string, others = noPeerHasIt): OciError {
  if (error instanceof OciError) return error
  const cause = error
  if (!(error instanceof UpstreamError)) {
    return new OciError('UNAVAILABLE', `${description} can't be had: ${messageOf(error)}`, { cause })
  }
  switch (error.code) {
    case 'not-found':
      return new OciError(unknownCode[subject], `${description} is not known to its registry`, { cause })
    case 'unauthorized':
    case 'refused':
      return new OciError('UNAUTHORIZED', error.message, {
        cause,
        headers: error.challenge === undefined ? {} : { 'WWW-Authenticate': error.challenge },
      })
    case 'denied':
      return new OciError('DENIED', error.message, { cause })
    default:
      return new OciError('UNAVAILABLE', `${description} can't be had: ${error.message}; ${others}`, { cause })
  }
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

/** Whether upstream could not answer, as opposed to having said no. */
export function isOffline(error: unknown): boolean {
  return error instanceof UpstreamError && ['unreachable', 'broken', 'rate-limited'].includes(error.code)
}

/** Whether upstream can't be reached, as opposed to one that answers that it has too much to do, or something useless. */
export function isAway(error: unknown): boolean {
  return error instanceof UpstreamError && error.code === 'unreachable'
}

/**
 * Why nobody can give a blob. What a peer says of the length counts only where upstream can't say better.
 * @param error of upstream
 * @param tooLong what a peer's word on the length means
 */
export function whyHopeless(error: unknown, tooLong: Error | undefined): unknown {
  if (tooLong !== undefined && (error === undefined || isOffline(error))) return tooLong
  return error ?? new Error('no peer and no registry can give it')
}

/** Whether upstream does not let the asker in. */
export function isRefusal(error: unknown): boolean {
  return error instanceof UpstreamError && (error.code === 'unauthorized' || error.code === 'denied')
}
