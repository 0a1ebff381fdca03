import { parseMediaType } from '../oci/media-type.ts'
import { TransientError } from './errors.ts'
import { discard, type HttpHeaders, type HttpResponse, readAll } from './exchange.ts'
import { parseRetryAfter } from './retry.ts'
import { UpstreamError } from './types.ts'

/** An error body that is longer than this has nothing to say to a person. */
const maxErrorBytes = 16 * 1024
const maxDetailLength = 200

/** Reads `Content-Length`; undefined where there is none that makes sense. */
export function contentLength(headers: HttpHeaders): number | undefined {
  const text = headers.get('content-length') ?? ''
  return /^\d{1,15}$/.test(text) ? Number(text) : undefined
}

/** `Content-Type` without parameters, in lower case; undefined where it is none. */
export function contentType(headers: HttpHeaders): string | undefined {
  return parseMediaType(headers.get('content-type'))
}

/** Statuses of success that say that there is no content, or only a part. */
const partial: ReadonlySet<number> = new Set([204, 205, 206, 207])

/** Whether an answer holds the whole of what was asked for. Other statuses of success than 200 are odd, and clients take them. */
export function isWhole(status: number): boolean {
  return status >= 200 && status <= 299 && !partial.has(status)
}

/** Whether an answer of this status may be another one soon. */
export function isTransient(status: number): boolean {
  return status === 408 || status === 429 || (status >= 500 && status !== 501 && status !== 505)
}

/**
 * The error for a response that is not what was asked for. It takes the response's body.
 * @param who the host as a person knows it
 * @param what what was asked for, such as `the manifest library/alpine:latest`
 * @param now ms since the epoch
 */
export async function statusError(
  response: HttpResponse,
  who: string,
  what: string,
  now: number,
): Promise<UpstreamError> {
  const { status, headers } = response
  const detail = await detailOf(response)
  const said = `${who} answered ${status} for ${what}${detail === undefined ? '' : ` (${detail})`}`
  if (isTransient(status)) {
    const retryAfter = parseRetryAfter(headers.get('retry-after'), now)
    if (status !== 429) return new TransientError('broken', said, { retryAfter })
    const pause = retryAfter === undefined ? '' : `; it wants to be left alone for ${Math.ceil(retryAfter / 1000)} s`
    const message = `${said}: too many requests${pause}. Limits are often higher with credentials`
    return new TransientError('rate-limited', message, { retryAfter })
  }
  if (status === 401) return new UpstreamError('unauthorized', said, { challenge: headers.get('www-authenticate') })
  if (status === 403 || status === 451) return new UpstreamError('denied', said)
  if (status === 404 || status === 410) return new UpstreamError('not-found', said)
  return new UpstreamError('broken', said)
}

/** The first message of an OCI error body (distribution-spec 1.1, "Error Codes"). Other bodies may hold anything. */
async function detailOf(response: HttpResponse): Promise<string | undefined> {
  if (contentType(response.headers)?.endsWith('json') !== true) {
    await discard(response)
    return undefined
  }
  try {
    const body = await readAll(response.body, maxErrorBytes)
    const answer = JSON.parse(body?.toString('utf8') ?? '') as { errors?: { code?: unknown; message?: unknown }[] }
    const { code, message } = answer.errors?.[0] ?? {}
    const text = [code, message].filter((part) => typeof part === 'string' && part !== '').join(': ')
    return text === '' ? undefined : withoutSecrets(text)
  } catch {
    return undefined
  }
}

/** Queries of URLs carry signatures, and what follows `Bearer` or `Basic` is one's identity. */
function withoutSecrets(text: string): string {
  return text
    .replace(/[\p{Cc}\p{Cf}]+/gu, ' ')
    .replace(/(https?:\/\/[^\s?#"']*)[?#][^\s"']*/gi, '$1')
    .replace(/\b(bearer|basic)\s+[\w\-.~+/=]+/gi, '$1 …')
    .slice(0, maxDetailLength)
}
