import { errors } from 'undici'
import { UpstreamError, type UpstreamErrorCode } from './types.ts'

interface TransientErrorOptions {
  readonly cause?: unknown
  /** How long upstream asked to be left alone, in ms. */
  readonly retryAfter?: number | undefined
  readonly silence?: Silence | undefined
}

/** How a host that took a request left it without an answer: beyond its time, or by closing the connection. */
export type Silence = 'slow' | 'cut'

/** A failure that may pass: the request is worth another attempt. */
export class TransientError extends UpstreamError {
  readonly retryAfter: number | undefined
  /** Undefined where there was an answer, or no connection. */
  readonly silence: Silence | undefined

  constructor(code: UpstreamErrorCode, message: string, options: TransientErrorOptions = {}) {
    super(code, message, { cause: options.cause })
    this.retryAfter = options.retryAfter
    this.silence = options.silence
  }
}

/** The error for a caller whose signal was aborted. */
export function abortedError(signal: AbortSignal): UpstreamError {
  return new UpstreamError('aborted', 'the request was given up', { cause: signal.reason })
}

/** Node's codes for certificates that don't prove the host. Another attempt gets the same certificate. */
const certificateCodes: ReadonlySet<string> = new Set([
  'CERT_HAS_EXPIRED',
  'CERT_NOT_YET_VALID',
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'ERR_TLS_CERT_ALTNAME_INVALID',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
])

const reasonOfCode: Readonly<Record<string, string>> = {
  EAI_AGAIN: 'its name cannot be resolved now (DNS)',
  ECONNREFUSED: 'it refuses connections',
  ECONNRESET: 'it closed the connection',
  EHOSTUNREACH: 'there is no route to it',
  ENETUNREACH: 'there is no network',
  ENOTFOUND: 'its name is not known (DNS)',
  ETIMEDOUT: 'no connection in time',
  UND_ERR_BODY_TIMEOUT: 'it stopped sending',
  UND_ERR_CONNECT_TIMEOUT: 'no connection in time',
  UND_ERR_HEADERS_TIMEOUT: 'no answer in time',
  UND_ERR_RES_CONTENT_LENGTH_MISMATCH: 'it sent another length than it announced',
  UND_ERR_SOCKET: 'it closed the connection',
}

/** A failure on the way to a host, in words that say what it was. */
export class WayError extends Error {
  /** Whether another attempt may find a way. */
  readonly mayPass: boolean

  constructor(message: string, options: { readonly mayPass: boolean; readonly cause?: unknown }) {
    super(message, { cause: options.cause })
    this.name = 'WayError'
    this.mayPass = options.mayPass
  }
}

/** Whether another attempt would find no way either. */
export function isWithoutWay(error: unknown): boolean {
  return wayErrorIn(error)?.mayPass === false
}

function wayErrorIn(error: unknown): WayError | undefined {
  if (error instanceof WayError) return error
  if (error instanceof AggregateError) return wayErrorIn(error.errors[0])
  return error instanceof Error && error.cause !== undefined ? wayErrorIn(error.cause) : undefined
}

/** The error for a proxy that cannot be reached itself. */
export function proxyFailure(error: unknown, proxy: string): WayError {
  const code = codeOf(error)
  const isCertificate = code !== undefined && certificateCodes.has(code)
  const reason = isCertificate
    ? `its certificate is not trusted (${code}); NODE_EXTRA_CA_CERTS adds one`
    : reasonOf(error)
  const message = reason.startsWith('it ') ? `the proxy ${proxy} ${reason.slice(3)}` : `the proxy ${proxy}: ${reason}`
  return new WayError(message, { mayPass: !isCertificate, cause: error })
}

const silences: Readonly<Record<string, Silence>> = {
  ECONNRESET: 'cut',
  EPIPE: 'cut',
  UND_ERR_HEADERS_TIMEOUT: 'slow',
  UND_ERR_SOCKET: 'cut',
}

/** How a host that took a request left it without an answer; undefined where it did not take it. */
export function silenceOf(error: unknown): Silence | undefined {
  return silences[codeOf(error) ?? '']
}

/** What went wrong on the wire, for a person; the host is named by the caller. */
export function reasonOf(error: unknown): string {
  const known = wayErrorIn(error)
  if (known !== undefined) return known.message
  const code = codeOf(error)
  if (code === undefined) return 'the connection failed'
  if (certificateCodes.has(code)) {
    return `its certificate is not trusted (${code}); set "ca" (or "insecure") for this registry if it is meant to be`
  }
  return reasonOfCode[code] ?? `the connection failed (${code})`
}

/** Whether a host's certificate is not trusted, or not for that host. */
export function isCertificateError(error: unknown): boolean {
  return certificateCodes.has(codeOf(error) ?? '')
}

/**
 * What a request that got no answer at all throws. A host whose certificate is wrong has not answered either: whoever did
 * (a captive portal, say) is not upstream.
 * @param who the host as a person knows it, such as `docker.io` or `the token service of docker.io`
 */
export function noAnswerError(error: unknown, who: string): UpstreamError {
  const code = codeOf(error)
  if (error instanceof errors.HTTPParserError || error instanceof errors.HeadersOverflowError) {
    return new UpstreamError('broken', `${who} does not answer in HTTP/1.1; check its endpoint`, { cause: error })
  }
  const message = `${who} cannot be reached: ${reasonOf(error)}`
  return isWithoutWay(error) || (code !== undefined && certificateCodes.has(code))
    ? new UpstreamError('unreachable', message, { cause: error })
    : new TransientError('unreachable', message, { cause: error, silence: silenceOf(error) })
}

/** Whether no connection could be made in its time. */
export function isConnectTimeout(error: UpstreamError): boolean {
  return ['ETIMEDOUT', 'UND_ERR_CONNECT_TIMEOUT'].includes(codeOf(error.cause) ?? '')
}

function codeOf(error: unknown): string | undefined {
  if (!(error instanceof Error)) return undefined
  if ('code' in error && typeof error.code === 'string') return error.code
  // Happy eyeballs: one error for each address tried.
  return error instanceof AggregateError ? codeOf(error.errors[0]) : codeOf(error.cause)
}
