/** Error codes of the OCI distribution spec 1.1, "Error Codes", each with the HTTP status that goes with it here. */
const statusOfCode = {
  BLOB_UNKNOWN: 404,
  BLOB_UPLOAD_INVALID: 400,
  BLOB_UPLOAD_UNKNOWN: 404,
  DENIED: 403,
  DIGEST_INVALID: 400,
  MANIFEST_BLOB_UNKNOWN: 404,
  MANIFEST_INVALID: 400,
  MANIFEST_UNKNOWN: 404,
  NAME_INVALID: 400,
  NAME_UNKNOWN: 404,
  RANGE_INVALID: 416,
  SIZE_INVALID: 400,
  UNAUTHORIZED: 401,
  UNSUPPORTED: 405,
  UNKNOWN: 500,
  URI_TOO_LONG: 414,
  UNAVAILABLE: 503,
} as const

export type OciErrorCode = keyof typeof statusOfCode

interface OciErrorOptions {
  /** Overrides the status that belongs to the code. */
  readonly status?: number
  readonly detail?: unknown
  /** Response headers that the status calls for, such as `WWW-Authenticate` with a 401. */
  readonly headers?: Readonly<Record<string, string>>
  readonly cause?: unknown
}

/** An answer to a client that is an error of the registry API. The message is for the person who reads the client's output. */
export class OciError extends Error {
  readonly code: OciErrorCode
  readonly status: number
  readonly detail: unknown
  readonly headers: Readonly<Record<string, string>>

  constructor(code: OciErrorCode, message: string, options: OciErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.name = 'OciError'
    this.code = code
    this.status = options.status ?? statusOfCode[code]
    this.detail = options.detail
    this.headers = options.headers ?? {}
  }

  /** The JSON body of distribution-spec 1.1, "Error Codes". */
  body(): string {
    const { code, message, detail } = this
    return JSON.stringify({ errors: [{ code, message, ...(detail === undefined ? {} : { detail }) }] })
  }
}
