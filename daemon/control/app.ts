import type { IncomingMessage } from 'node:http'
import Router from '@koa/router'
import Koa, { type Context } from 'koa'
import type { Logger } from 'pino'
import { OciError } from '../../proxy/oci/errors.ts'
import { UpstreamError } from '../../proxy/upstream/types.ts'
import { StoreError } from '../store/errors.ts'
import { type Call, ControlError, type ControlEvent, type Operation, type Operations } from './operation.ts'

interface ControlOptions {
  /** By the name that clients ask for. */
  readonly operations: Operations
  readonly version: string
  readonly logger: Pick<Logger, 'error'>
  /** Aborts when the node stops. */
  readonly stopping: AbortSignal
  /** Requests at the same time. */
  readonly maxCalls?: number
  /** ms without an event or a byte, after which a request is given up. */
  readonly idleLimit?: number
}

/** Requests at the same time. A person and a few scripts need a handful; each may hold some MiB. */
const maxCalls = 16

/** A request of which nothing was heard for so long, in ms, is given up. The slowest upstream answers sooner. */
const idleLimit = 600_000

/** Bytes of what is asked for. */
const maxInputBytes = 64 * 1024

/**
 * What changes something at this node, or costs it something: `POST /v1/NAME` with JSON. It is served at a unix socket, whose file says
 * who may use it.
 */
export function createControlApp(options: ControlOptions): Koa {
  const { operations, version, logger, stopping } = options
  const limit = options.maxCalls ?? maxCalls
  let calls = 0
  const router = new Router()
  router.post('/v1/:operation', async (ctx) => {
    const { operation: name = '' } = ctx.params
    const operation = Object.hasOwn(operations, name) ? operations[name] : undefined
    if (operation === undefined) return refuse(ctx, 404, `layerd ${version} can not do "${name}"`)
    if (calls >= limit) {
      return refuse(ctx, 503, `${limit} requests are under way at this node: try again when one of them is over`)
    }
    calls++
    const watch = new Watch(ctx, stopping, options.idleLimit ?? idleLimit)
    try {
      await answer(ctx, operation, watch)
    } catch (error) {
      const message = watch.reason ?? messageOf(error)
      // Of an answer that is cut, its client hears no reason.
      const isCut = ctx.respond === false && operation.kind === 'download' && !watch.signal.aborted
      if (message === undefined || isCut) logger.error({ err: error, operation: name }, 'an operation has failed')
      fail(ctx, message ?? `it failed unexpectedly (${(error as Error).message}): the log of the node says more`)
    } finally {
      watch.end()
      calls--
    }
  })
  const app = new Koa()
  app.silent = true
  app.use(async (ctx, next) => {
    ctx.set('layerd-version', version)
    await next()
  })
  app.use(router.routes())
  app.use((ctx) => refuse(ctx, 404, 'ask with POST /v1/OPERATION'))
  return app
}

/** Ends a request whose client has gone, of which nothing is heard any more, or whose node stops. */
class Watch {
  readonly signal: AbortSignal
  /** Why it was ended, for its client; undefined where it was not, or nobody would read it. */
  reason: string | undefined
  readonly #ending = new AbortController()
  readonly #timer: NodeJS.Timeout
  readonly #stopping: AbortSignal
  readonly #onStop = () => this.#abort('the node is stopping')

  constructor({ res }: Context, stopping: AbortSignal, limit: number) {
    this.signal = this.#ending.signal
    this.#stopping = stopping
    this.#timer = setTimeout(() => this.#abort(`nothing has come of it for ${limit / 1000} s`), limit)
    res.once('close', () => {
      if (!res.writableFinished) this.#ending.abort(new Error('the client has hung up'))
    })
    if (stopping.aborted) this.#onStop()
    else stopping.addEventListener('abort', this.#onStop, { once: true })
  }

  moved(): void {
    this.#timer.refresh()
  }

  end(): void {
    clearTimeout(this.#timer)
    this.#stopping.removeEventListener('abort', this.#onStop)
  }

  #abort(reason: string): void {
    this.reason = reason
    this.#ending.abort(new ControlError(reason))
  }
}

async function answer(ctx: Context, operation: Operation, watch: Watch): Promise<void> {
  const { signal } = watch
  if (operation.kind === 'answer') {
    ctx.body = await operation.run(await readInput(ctx, watch), signal)
    return
  }
  if (operation.kind === 'download') {
    const bytes = await operation.run(await readInput(ctx, watch), signal)
    return await sendBytes(ctx, bytes, watch)
  }
  const call: Call = { signal, send: (event) => sendEvent(ctx, event, watch) }
  const result =
    operation.kind === 'events'
      ? await operation.run(await readInput(ctx, watch), call)
      : await operation.run(parse(String(ctx.query.input ?? '{}')), moving(ctx.req, watch), call)
  await call.send({ ...result, event: 'done' })
  ctx.res.end()
}

async function readInput(ctx: Context, watch: Watch): Promise<unknown> {
  const pieces: Uint8Array[] = []
  let length = 0
  for await (const piece of moving(ctx.req, watch)) {
    length += piece.length
    if (length > maxInputBytes) throw new ControlError(`more than ${maxInputBytes} bytes were asked with`)
    pieces.push(piece)
  }
  return parse(Buffer.concat(pieces).toString('utf8') || '{}')
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    throw new ControlError('what was asked with is no JSON')
  }
}

async function* moving(request: IncomingMessage, watch: Watch): AsyncGenerator<Uint8Array> {
  // Whoever stops reading still answers on the same socket.
  for await (const piece of request.iterator({ destroyOnReturn: false })) {
    watch.moved()
    yield piece
  }
}

async function sendEvent(ctx: Context, event: ControlEvent, watch: Watch): Promise<void> {
  begin(ctx, 'application/x-ndjson')
  await write(ctx, `${JSON.stringify(event)}\n`, watch)
}

async function sendBytes(ctx: Context, bytes: AsyncIterable<Uint8Array>, watch: Watch): Promise<void> {
  for await (const piece of bytes) {
    begin(ctx, 'application/octet-stream')
    await write(ctx, piece, watch)
  }
  begin(ctx, 'application/octet-stream')
  ctx.res.end()
}

/** The answer is written as it comes, past Koa. */
function begin(ctx: Context, type: string): void {
  if (ctx.respond === false) return
  ctx.respond = false
  ctx.res.statusCode = 200
  ctx.res.setHeader('Content-Type', type)
}

async function write({ res }: Context, bytes: string | Uint8Array, watch: Watch): Promise<void> {
  watch.signal.throwIfAborted()
  watch.moved()
  if (res.write(bytes)) return
  const { promise, resolve } = Promise.withResolvers<void>()
  const onEnd = () => resolve()
  res.once('drain', onEnd)
  watch.signal.addEventListener('abort', onEnd, { once: true })
  await promise
  res.off('drain', onEnd)
  watch.signal.removeEventListener('abort', onEnd)
  watch.signal.throwIfAborted()
}

/** Says what is the matter, wherever the answer is. */
function fail(ctx: Context, message: string): void {
  if (ctx.respond !== false) refuse(ctx, 400, message)
  else if (ctx.res.getHeader('Content-Type') === 'application/x-ndjson') {
    ctx.res.end(`${JSON.stringify({ event: 'error', message })}\n`)
    ctx.req.resume()
  } else ctx.res.destroy()
}

function refuse(ctx: Context, status: number, message: string): void {
  ctx.status = status
  ctx.body = { message }
  // A client that still sends might see a cut connection rather than the answer.
  ctx.req.resume()
}

/** What a client is told; undefined for what nobody has foreseen. */
function messageOf(error: unknown): string | undefined {
  const isForeseen = [ControlError, OciError, UpstreamError, StoreError].some((kind) => error instanceof kind)
  return isForeseen ? (error as Error).message : undefined
}
