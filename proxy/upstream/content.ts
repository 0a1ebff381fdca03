import { algorithmOf, type Digest, isDigest } from '../oci/digest.ts'
import { maxManifestBytes, tooLongText } from '../oci/manifest.ts'
import { parseContentRange } from '../oci/range.ts'
import { contentLength, contentType, statusError } from './answers.ts'
import { abortedError, reasonOf, TransientError } from './errors.ts'
import type { HttpHeaders, HttpResponse } from './exchange.ts'
import { backoff, pause, type Timing } from './retry.ts'
import type { RegistryRequest, RegistryResponse, Sender } from './send.ts'
import { UpstreamError } from './types.ts'

/** A transfer that broke after at least this many bytes was getting on: failures before it don't count any more. */
const progressBytes = 1024 * 1024

export interface ContentRequest extends Omit<RegistryRequest, 'method' | 'findDefect'> {
  /** What the content must be; undefined for a tag. */
  readonly digest: Digest | undefined
  /** Longest content to take, in bytes. */
  readonly limit: number
  /** The last byte wanted; undefined for all to the end. */
  readonly end?: number | undefined
}

export interface OpenedContent {
  readonly response: RegistryResponse
  /** Bytes at the front of the body that come before those asked for. */
  readonly skip: number
  /** Size of the whole content in bytes, where it is known. */
  readonly size: number | undefined
}

export interface ContentContext {
  readonly sender: Sender
  readonly attempts: number
  readonly timing: Timing
}

/** `Docker-Content-Digest`, where it is a digest. */
export function digestHeader(headers: HttpHeaders): Digest | undefined {
  const text = headers.get('docker-content-digest') ?? ''
  return isDigest(text) ? text : undefined
}

/** What shows, before the body is read, that an answer is not the content asked for. */
export function defectOf(response: HttpResponse, digest: Digest | undefined): string | undefined {
  const { headers } = response
  const said = digestHeader(headers)
  const sameAlgorithm = said !== undefined && digest !== undefined && algorithmOf(said) === algorithmOf(digest)
  if (sameAlgorithm && said !== digest) return 'other content'
  return contentType(headers) === 'text/html' && !sameAlgorithm ? 'an HTML page' : undefined
}

/**
 * Asks for content from `offset` on.
 * @throws {UpstreamError}
 */
export async function openContent(
  { sender, timing }: ContentContext,
  request: ContentRequest,
  offset: number,
): Promise<OpenedContent> {
  const { registry, what, digest, limit, end } = request
  const response = await sender.send({
    ...request,
    method: 'GET',
    headers:
      offset === 0 && end === undefined
        ? request.headers
        : { ...request.headers, range: `bytes=${offset}-${end ?? ''}` },
    findDefect: (answer) => defectOf(answer, digest) ?? wrongRange(answer, offset),
  })
  const { status, headers } = response
  const opened = { response, skip: status === 200 ? offset : 0, size: sizeOf(status, headers) }
  // Everything was received already, and the registry says so (RFC 9110, 15.5.17).
  const isAtEnd = status === 416 && opened.size === offset
  if (status !== 200 && status !== 206 && !isAtEnd) throw await statusError(response, registry.name, what, timing.now())
  if (opened.size !== undefined && opened.size > limit) {
    response.body.cancel()
    throw tooLong(request, opened.size)
  }
  return opened
}

function wrongRange({ status, headers }: HttpResponse, offset: number): string | undefined {
  if (status === 200) return undefined
  if (status !== 206) return `status ${status}`
  return parseContentRange(headers.get('content-range'))?.start === offset ? undefined : 'another range'
}

function sizeOf(status: number, headers: HttpHeaders): number | undefined {
  if (status === 200) return contentLength(headers)
  if (status === 206) return parseContentRange(headers.get('content-range'))?.size
  const size = /^bytes \*\/(\d{1,15})$/i.exec(headers.get('content-range') ?? '')?.[1]
  return size === undefined ? undefined : Number(size)
}

/**
 * The bytes of content from `offset` to the end asked for. A transfer that breaks, or ends before the size that was announced, is
 * gone on with by a range request, which begins at the registry again: signed URLs expire.
 * @throws {UpstreamError}
 */
export async function* readContent(
  context: ContentContext,
  request: ContentRequest,
  first: OpenedContent,
  offset: number,
): AsyncGenerator<Uint8Array, void> {
  const { attempts, timing } = context
  const { registry, what, limit, signal, end } = request
  let { size } = first
  let opened = first
  let position = offset
  const isAtEnd = () => position === (end === undefined ? size : Math.min(end + 1, size ?? end + 1))
  for (let failures = 0; ; ) {
    const began = position
    let failure: unknown
    try {
      for await (const chunk of skipped(opened)) {
        // A registry without ranges sends more than was asked for.
        const wanted = end === undefined ? chunk : chunk.subarray(0, end + 1 - position)
        position += wanted.length
        if (position > (size ?? limit)) throw tooLong(request, size)
        yield wanted
        if (end !== undefined && isAtEnd()) return
      }
      // Without an announced size the end of the body is all there is to go by.
      if (size === undefined || isAtEnd()) return
    } catch (error) {
      if (signal.aborted) throw abortedError(signal)
      if (error instanceof UpstreamError) throw error
      if (isAtEnd()) return
      failure = error
    }
    failures = position - began >= progressBytes ? 1 : failures + 1
    if (failures >= attempts) throw brokenOff(request, position, size, failure)
    await pause(backoff(failures, timing.random()), timing, signal)
    opened = await openContent(context, request, position)
    if (size !== undefined && opened.size !== undefined && opened.size !== size) {
      opened.response.body.cancel()
      throw new UpstreamError('broken', `${registry.name} says ${size} bytes first and ${opened.size} then for ${what}`)
    }
    size ??= opened.size
  }
}

async function* skipped({ response, skip }: OpenedContent): AsyncGenerator<Uint8Array, void> {
  if (response.status === 416) {
    response.body.cancel()
    return
  }
  let left = skip
  for await (const chunk of response.body) {
    if (chunk.length > left) yield left === 0 ? chunk : chunk.subarray(left)
    left = Math.max(0, left - chunk.length)
  }
}

/**
 * The error for content that is longer than its limit or than what was announced.
 * @param size bytes that were announced
 */
export function tooLong({ registry, what, limit }: ContentRequest, size?: number): UpstreamError {
  const isManifest = limit === maxManifestBytes && (size === undefined || size > limit)
  const more = isManifest ? tooLongText(size) : `it sends more bytes than the ${size ?? limit} that it may have`
  return new UpstreamError('broken', `${registry.name} sends too much for ${what}: ${more}`)
}

function brokenOff(
  request: ContentRequest,
  position: number,
  size: number | undefined,
  failure: unknown,
): UpstreamError {
  const { registry, what } = request
  const reason = failure === undefined ? 'it ended too early' : reasonOf(failure)
  const message = `the transfer of ${what} from ${registry.name} broke off after ${position} of ${size ?? 'unknown'} bytes: ${reason}`
  return new TransientError('broken', message, { cause: failure })
}
