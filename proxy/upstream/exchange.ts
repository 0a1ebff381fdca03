import { setTimeout as delay } from 'node:timers/promises'
import { type Dispatcher, errors } from 'undici'
import { Pace } from '../pace.ts'

/** Bytes of a body that wait for their reader before the socket is paused: enough to keep a fast link busy meanwhile. */
const bodyHighWaterMark = 1024 * 1024

/** A body that nobody wants is read to its end up to this size, which is cheaper than a new TLS connection. */
const discardBytes = 64 * 1024
const discardTimeout = 1_000

type ReceivedHeaders = Readonly<Record<string, string | string[] | undefined>>

/** Response headers; names in lower case, repeated ones joined as RFC 9110, 5.3 says. */
export class HttpHeaders {
  readonly #received: ReceivedHeaders

  constructor(received: ReceivedHeaders) {
    this.#received = received
  }

  get(name: string): string | undefined {
    const value = this.#received[name]
    return Array.isArray(value) ? value.join(', ') : value
  }

  /** The same with other values; undefined takes one out. */
  with(changed: ReceivedHeaders): HttpHeaders {
    return new HttpHeaders({ ...this.#received, ...changed })
  }
}

export interface HttpRequest {
  readonly method: 'GET' | 'HEAD' | 'POST'
  readonly url: URL
  /** Path and query where they are to be sent byte for byte; the URL's by default. */
  readonly path?: string | undefined
  readonly headers: Readonly<Record<string, string>>
  readonly body?: string
  /** Longest wait for the response's headers, in ms. */
  readonly responseTimeout: number
  /** Longest silence within the body, in ms. A reader that is slow itself doesn't count. */
  readonly idleTimeout: number
  readonly signal: AbortSignal
}

/** A response body: iterate it once, or cancel it. Chunks are the socket's own memory, not copies. */
interface HttpBody extends AsyncIterable<Uint8Array> {
  /** Drops what is left, and the connection with it. Does nothing when all was received. */
  cancel(): void
}

export interface HttpResponse {
  readonly status: number
  readonly headers: HttpHeaders
  readonly body: HttpBody
}

/**
 * One HTTP request, without redirects or retries. The body is paused while its reader is behind.
 * @throws undici's and Node's own errors, also while the body is read; the signal's reason when it is aborted
 */
export function exchange(dispatcher: Dispatcher, request: HttpRequest): Promise<HttpResponse> {
  if (request.signal.aborted) return Promise.reject(request.signal.reason)
  const { promise, resolve, reject } = Promise.withResolvers<HttpResponse>()
  const handler = new ExchangeHandler(request, resolve, reject)
  const { url, path, method, headers, body, responseTimeout, idleTimeout } = request
  dispatcher.dispatch(
    {
      origin: url.origin,
      path: path ?? url.pathname + url.search,
      method,
      headers,
      body: body ?? null,
      headersTimeout: responseTimeout,
      bodyTimeout: idleTimeout,
    },
    handler,
  )
  return promise
}

class ExchangeHandler implements Dispatcher.DispatchHandler, HttpBody {
  readonly #signal: AbortSignal
  readonly #resolve: (response: HttpResponse) => void
  readonly #reject: (error: unknown) => void
  readonly #onAbort = () => this.#end(this.#signal.reason)
  readonly #pace: Pace
  #controller: Dispatcher.DispatchController | undefined
  #chunks: Uint8Array[] = []
  #buffered = 0
  #ended = false
  #error: unknown
  #wake: (() => void) | undefined

  constructor(
    { signal, idleTimeout }: HttpRequest,
    resolve: (response: HttpResponse) => void,
    reject: (error: unknown) => void,
  ) {
    this.#signal = signal
    this.#pace = new Pace(idleTimeout)
    this.#resolve = resolve
    this.#reject = reject
    signal.addEventListener('abort', this.#onAbort, { once: true })
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller
    if (this.#ended) controller.abort(asError(this.#error))
  }

  onResponseStart(_controller: Dispatcher.DispatchController, status: number, headers: ReceivedHeaders): void {
    if (status >= 200) this.#resolve({ status, headers: new HttpHeaders(headers), body: this })
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    this.#chunks.push(chunk)
    this.#buffered += chunk.length
    if (this.#buffered >= bodyHighWaterMark) controller.pause()
    this.#wake?.()
  }

  onResponseEnd(): void {
    this.#finish(undefined)
  }

  onResponseError(_controller: Dispatcher.DispatchController, error: Error): void {
    this.#finish(error)
  }

  cancel(): void {
    this.#end(new Error('the rest of the body is not wanted'))
  }

  async *[Symbol.asyncIterator](): AsyncIterator<Uint8Array> {
    try {
      for (;;) {
        const chunk = this.#chunks.shift()
        if (chunk !== undefined) {
          this.#buffered -= chunk.length
          if (this.#controller?.paused === true && this.#buffered < bodyHighWaterMark / 2) this.#controller.resume()
          yield chunk
        } else if (this.#ended) {
          if (this.#error !== undefined) throw this.#error
          return
        } else {
          const since = performance.now()
          await new Promise<void>((resolve) => {
            this.#wake = resolve
          })
          const isSlow = this.#pace.isTooSlow(this.#buffered, performance.now() - since)
          if (isSlow && !this.#ended) throw new errors.BodyTimeoutError('it sends too slowly')
        }
      }
    } finally {
      this.cancel()
    }
  }

  /** Ends it from this side. */
  #end(reason: unknown): void {
    if (this.#ended) return
    this.#chunks = []
    this.#finish(reason)
    this.#controller?.abort(asError(reason))
  }

  #finish(error: unknown): void {
    if (this.#ended) return
    this.#ended = true
    this.#error = error
    this.#signal.removeEventListener('abort', this.#onAbort)
    this.#reject(error)
    this.#wake?.()
  }
}

function asError(reason: unknown): Error {
  return reason instanceof Error ? reason : new Error('aborted', { cause: reason })
}

/**
 * A whole body of at most `limit` bytes.
 * @returns undefined where it is longer; the rest is not read
 */
export async function readAll(body: AsyncIterable<Uint8Array>, limit: number): Promise<Buffer | undefined> {
  const chunks: Uint8Array[] = []
  let length = 0
  for await (const chunk of body) {
    length += chunk.length
    if (length > limit) return undefined
    chunks.push(chunk)
  }
  return Buffer.concat(chunks, length)
}

/** Gets rid of a body that nobody wants and keeps the connection where that is cheap. Never throws. */
export async function discard(response: HttpResponse): Promise<void> {
  const done = new AbortController()
  const timer = delay(discardTimeout, undefined, { signal: done.signal, ref: false }).then(
    () => response.body.cancel(),
    () => undefined,
  )
  try {
    await readAll(response.body, discardBytes)
  } catch {
    // It was not wanted.
  } finally {
    done.abort()
    await timer
  }
}
