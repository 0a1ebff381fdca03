import type { ServerResponse } from 'node:http'
import { setTimeout as delay } from 'node:timers/promises'
import { OciError } from '../oci/errors.ts'
import type { Place } from '../readers.ts'
import type { RegistryContext } from './context.ts'

/**
 * How long the first byte of a body is waited for before the headers are sent without it, in ms, where it is sure to come. Until then
 * a failure can still be an error status, after which clients go on to their next mirror.
 */
const headersPatience = 5_000

/** How long it is waited for where it is not sure, in ms; containerd gives up after 30 s without headers. */
const firstBytePatience = 25_000

/** How often it is asked whether it is sure now, in ms. */
const askEvery = 500

/** What a client is told that had no turn. */
const busy = 'this node sends as many bodies as it can at a time; try again later, or elsewhere'

/**
 * Sends a body with backpressure. The memory of a chunk is given back (the next one asked for) when the kernel has it.
 * Where the body fails, the connection is cut: a client must never take a part for the whole.
 * @param isComing whether the first byte is sure to come once the body has its turn
 * @throws {OciError} UNAVAILABLE where it does not come, or its turn does not, before anything is sent; what the body throws
 */
export async function sendBody(
  ctx: RegistryContext,
  body: AsyncIterable<Uint8Array>,
  onServed: (bytes: number) => void,
  isComing: () => boolean = () => true,
): Promise<void> {
  const { res } = ctx
  const { readers, signal } = ctx.state
  const patience = new AbortController()
  const turn: Turn = { place: undefined }
  const chunks = inTurn(body, turn, () => readers.enter(ctx.req, AbortSignal.any([signal, patience.signal])))
  const first = chunks.next()
  const isLate = await waitForFirst(first, turn, isComing).catch((error) => {
    // A client that is sent to its next mirror stays in line no longer.
    patience.abort(error)
    throw error
  })
  // From here on the response is ours: Koa must not end it, and an error can't become a status any more.
  ctx.respond = false
  giveUpWith(turn.place?.signal, res)
  if (isLate) res.flushHeaders()
  let left = ctx.length ?? Number.POSITIVE_INFINITY
  try {
    for (let next = await first; next.done !== true; next = await chunks.next()) {
      left -= next.value.length
      // Bytes beyond Content-Length would be read as the next response, and those before it as a complete one.
      if (left < 0) throw new Error('the body is longer than its Content-Length')
      await write(res, next.value)
      turn.place?.moved()
      ctx.state.facts.bytes += next.value.length
      onServed(next.value.length)
    }
    if (left > 0 && ctx.length !== undefined) throw new Error('the body is shorter than its Content-Length')
    res.end()
  } catch (error) {
    const reason = turn.place?.signal.aborted === true ? turn.place.signal.reason : error
    ctx.state.facts.error = reason instanceof Error ? reason.message : String(reason)
    res.destroy(error instanceof Error ? error : new Error(String(error)))
    throw error
  } finally {
    await chunks.return(undefined)
  }
}

/**
 * Makes an answer that is in memory as a whole until the client has taken it. It has a place among the bodies that are sent, and is made
 * when its turn comes, so there are no more of them.
 * @throws {OciError} UNAVAILABLE where its turn does not come; what `answer` throws
 */
export async function answerInTurn({ req, res, state }: RegistryContext, answer: () => Promise<void>): Promise<void> {
  const { readers, signal } = state
  const patience = AbortSignal.timeout(firstBytePatience)
  const place = await readers.enter(req, AbortSignal.any([signal, patience])).catch((error: unknown) => {
    throw patience.aborted ? new OciError('UNAVAILABLE', busy) : error
  })
  res.once('close', () => place.leave())
  if (res.closed) place.leave()
  giveUpWith(place.signal, res)
  await answer()
}

/** Ends a response when its place is for somebody else. */
function giveUpWith(signal: AbortSignal | undefined, res: ServerResponse): void {
  if (signal?.aborted === true) res.destroy(signal.reason)
  signal?.addEventListener('abort', () => res.destroy(signal.reason))
}

/** What a body waits in line for. */
interface Turn {
  /** Undefined while it waits. */
  place: Place | undefined
}

/** @returns whether the headers are to be sent before the first byte is here */
async function waitForFirst(first: Promise<unknown>, turn: Turn, isComing: () => boolean): Promise<boolean> {
  const since = performance.now()
  const patience = new AbortController()
  const isHere = first.then(() => true)
  try {
    for (;;) {
      const pause = delay(askEvery, false, { signal: patience.signal })
      pause.catch(() => {})
      if (await Promise.race([isHere, pause])) return false
      const { place } = turn
      if (place?.signal.aborted === true) throw new OciError('UNAVAILABLE', busy)
      const waited = performance.now() - since
      // A place in line brings no byte.
      if (waited >= headersPatience && place !== undefined && isComing()) return true
      if (waited < firstBytePatience) continue
      const why = place === undefined ? busy : `nobody has sent a byte of it for ${firstBytePatience / 1000} s`
      throw new OciError('UNAVAILABLE', why)
    }
  } finally {
    patience.abort()
    isHere.catch(() => {})
  }
}

/** Nothing is read before its turn, as it would wait in memory. */
async function* inTurn(
  body: AsyncIterable<Uint8Array>,
  turn: Turn,
  enter: () => Promise<Place>,
): AsyncGenerator<Uint8Array> {
  turn.place = await enter()
  try {
    yield* body
  } finally {
    turn.place.leave()
  }
}

function write(res: ServerResponse, chunk: Uint8Array): Promise<void> {
  return new Promise((resolve, reject) => {
    // The callback of a write is lost when the socket is destroyed before it, hence the listener.
    const onClose = () => reject(new Error('the client closed the connection'))
    if (res.destroyed) return onClose()
    res.once('close', onClose)
    res.write(chunk, (error) => {
      res.off('close', onClose)
      if (error) reject(error)
      else resolve()
    })
  })
}
