import { maxManifestBytes, tooLongText } from '../oci/manifest.ts'
import { type ByteRange, parseContentRange } from '../oci/range.ts'
import { contentLength, isWhole, statusError } from './answers.ts'
import { withoutFirst } from './bytes.ts'
import { decodedOrTold } from './encoding.ts'
import { abortedError, reasonOf, TransientError } from './errors.ts'
import { codingsIn, examined } from './examine.ts'
import type { UpstreamLogger } from './registry.ts'
import type { RegistryRequest, RegistryResponse } from './request.ts'
import { backoff, pause, type Timing } from './retry.ts'
import type { Sender } from './send.ts'
import { UpstreamError } from './types.ts'

/**
 * A transfer that broke after at least this many bytes was getting on: failures before it don't count any more. There are
 * servers that end each response after some hundred kB.
 */
const progressBytes = 64 * 1024

export interface ContentRequest extends Omit<RegistryRequest, 'method' | 'examine' | 'isTentative'> {
  /** Longest content to take, in bytes. */
  readonly limit: number
  /** The last byte wanted; undefined for all to the end. */
  readonly end?: number | undefined
}

export interface OpenedContent {
  readonly response: RegistryResponse
  /** Where the body begins in the content: before what was asked for where the registry gives no ranges. */
  readonly start: number
  /** Size of the whole content in bytes, where it is known. */
  readonly size: number | undefined
}

export interface ContentContext {
  readonly sender: Sender
  readonly attempts: number
  readonly timing: Timing
  readonly logger: UpstreamLogger
}

const nothing: RegistryResponse['body'] = { async *[Symbol.asyncIterator]() {}, cancel: () => {} }

/**
 * Asks for content from `offset` on. A registry that does not give a range of it is asked for the whole, and remembered.
 * @throws {UpstreamError}
 */
export async function openContent(
  context: ContentContext,
  request: ContentRequest,
  offset: number,
): Promise<OpenedContent> {
  const { registry, end } = request
  const isPart = offset > 0 || end !== undefined
  if (!isPart || registry.habits.has('no-ranges')) return openWhole(context, request, offset)
  try {
    return await openPart(context, request, { start: offset, end })
  } catch (error) {
    if (!isAboutRange(error)) throw error
    const whole = await openWhole(context, request, offset)
    const isMoment = error instanceof TransientError || error.code !== 'broken'
    const isNews = isMoment ? registry.habits.suspect('no-ranges') : registry.habits.learn('no-ranges')
    if (isNews) {
      const reason = error.message
      context.logger.warn(
        { registry: registry.name, reason },
        'a registry gives no ranges; it is asked for the whole from now on',
      )
    }
    return whole
  }
}

/** Whether a request for the whole may succeed where one for a range failed. */
function isAboutRange(error: unknown): error is UpstreamError {
  if (!(error instanceof UpstreamError)) return false
  if (error.code === 'unreachable') return error instanceof TransientError && error.silence !== undefined
  return error.code !== 'refused' && error.code !== 'aborted'
}

async function openWhole(
  { sender, timing }: ContentContext,
  request: ContentRequest,
  offset: number,
): Promise<OpenedContent> {
  const { registry, what } = request
  const response = await sender.send({ ...request, method: 'GET', examine: (answer) => examined(answer, request) })
  const { status } = response
  // No range was asked for: a 206 that does not say which one it is, is all of it.
  const range = response.headers.get('content-range')
  const isAll = isWhole(status) || (status === 206 && (parseContentRange(range)?.start ?? 0) === 0)
  if (!isAll) throw await statusError(response, registry.name, what, timing.now())
  const size = sizeOf(response, request)
  checkSize(request, response, size, offset)
  return { response, start: 0, size }
}

/** @param end of the range, inclusive; undefined for the content's */
async function openPart(
  { sender, timing }: ContentContext,
  request: ContentRequest,
  { start, end }: { readonly start: number; readonly end: number | undefined },
): Promise<OpenedContent> {
  const { registry, what } = request
  const headers = { ...request.headers, range: `bytes=${start}-${end ?? ''}` }
  const examine = async (answer: RegistryResponse) => (answer.status === 206 ? answer : examined(answer, request))
  const response = await sender.send({ ...request, method: 'GET', headers, examine, isTentative: true })
  const { status } = response
  if (isWhole(status)) {
    // The range was ignored, as RFC 9110, 14.2, allows.
    const size = sizeOf(response, request)
    checkSize(request, response, size, start)
    return { response, start: 0, size }
  }
  if (status === 206) {
    const range = usableRange(response, request, start)
    if (range !== undefined) {
      checkSize(request, response, range.size, start)
      return { response, start, size: range.size }
    }
    response.body.cancel()
    throw new UpstreamError('broken', `${registry.name} answered with another range than was asked for of ${what}`)
  }
  const total = /^bytes \*\/(\d{1,15})$/i.exec(response.headers.get('content-range') ?? '')?.[1]
  // Everything was received already, and the registry says so (RFC 9110, 15.5.17).
  if (status === 416 && total === String(start)) {
    response.body.cancel()
    return { response: { ...response, body: nothing }, start, size: start }
  }
  throw await statusError(response, registry.name, what, timing.now())
}

/** What a 206 holds, if that can be told and begins where it is to begin. */
function usableRange(
  { headers }: RegistryResponse,
  { registry }: ContentRequest,
  start: number,
): (ByteRange & { readonly size?: number }) | undefined {
  const range = parseContentRange(headers.get('content-range'))
  if (range?.start !== start || codingsIn(headers, registry).length > 0) return undefined
  const length = contentLength(headers)
  return length === undefined || length === range.end + 1 - range.start ? range : undefined
}

function checkSize(
  request: ContentRequest,
  response: RegistryResponse,
  size: number | undefined,
  offset: number,
): void {
  if (size === undefined || (size <= request.limit && offset <= size)) return
  response.body.cancel()
  if (size > request.limit) throw tooLong(request, size)
  const { registry, what } = request
  throw new UpstreamError(
    'broken',
    `${registry.name} has ${size} bytes of ${what}, of which ${offset} were received before`,
  )
}

/** Size of content that is given whole. */
function sizeOf({ headers }: RegistryResponse, request: ContentRequest): number | undefined {
  const { size } = parseContentRange(headers.get('content-range')) ?? {}
  return codingsIn(headers, request.registry).length > 0 ? undefined : (size ?? contentLength(headers))
}

/** The bytes of an opened body, freed of codings. */
function bytesOf(
  { response, start }: OpenedContent,
  context: ContentContext,
  request: ContentRequest,
): AsyncIterable<Uint8Array> {
  const { registry, digest } = request
  const codings = codingsIn(response.headers, registry)
  if (codings.length === 0) return response.body
  return decodedOrTold(response.body, codings, start === 0 ? digest : undefined, () => mislabelled(context, request))
}

function mislabelled({ logger }: ContentContext, { registry, what }: ContentRequest): void {
  if (!registry.habits.learn('mislabels')) return
  logger.warn(
    { registry: registry.name, what },
    'a registry says Content-Encoding of bytes that are not encoded; it is not believed from now on',
  )
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
      for await (const chunk of withoutFirst(position - opened.start, bytesOf(opened, context, request))) {
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
    // Who may have it was settled by the first answer.
    if (opened.response.access === 'foreign' && first.response.access !== 'foreign') {
      opened.response.body.cancel()
      throw new UpstreamError('broken', `${registry.name} gives ${what} itself first and sends us elsewhere then`)
    }
    if (size !== undefined && opened.size !== undefined && opened.size !== size) {
      opened.response.body.cancel()
      throw new UpstreamError('broken', `${registry.name} says ${size} bytes first and ${opened.size} then for ${what}`)
    }
    size ??= opened.size
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
