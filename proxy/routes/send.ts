import type { ServerResponse } from 'node:http'
import { setTimeout as delay } from 'node:timers/promises'
import { OciError } from '../oci/errors.ts'
import type { Readers } from '../readers.ts'
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

/** How long a client may take for one chunk while others wait for their turn, in ms. Alone it may take all its time. */
const crowdedPatience = 30_000

/**
 * Sends a body with backpressure. The memory of a chunk is given back (the next one asked for) when the kernel has it.
 * Where the body fails, the connection is cut: a client must never take a part for the whole.
 * @param isComing whether the first byte is sure to come
 * @throws {OciError} UNAVAILABLE where it does not come, before anything is sent; what the body throws
 */
export async function sendBody(
  ctx: RegistryContext,
  body: AsyncIterable<Uint8Array>,
  onServed: (bytes: number) => void,
  isComing: () => boolean = () => true,
): Promise<void> {
  const { res } = ctx
  const { readers, signal } = ctx.state
  const chunks = inTurn(body, () => readers.enter(ctx.req, signal))
  const first = chunks.next()
  const isLate = await waitForFirst(first, isComing)
  // From here on the response is ours: Koa must not end it, and an error can't become a status any more.
  ctx.respond = false
  if (isLate) res.flushHeaders()
  let left = ctx.length ?? Number.POSITIVE_INFINITY
  try {
    for (let next = await first; next.done !== true; next = await chunks.next()) {
      left -= next.value.length
      // Bytes beyond Content-Length would be read as the next response, and those before it as a complete one.
      if (left < 0) throw new Error('the body is longer than its Content-Length')
      await write(res, next.value, readers)
      ctx.state.facts.bytes += next.value.length
      onServed(next.value.length)
    }
    if (left > 0 && ctx.length !== undefined) throw new Error('the body is shorter than its Content-Length')
    res.end()
  } catch (error) {
    ctx.state.facts.error = error instanceof Error ? error.message : String(error)
    res.destroy(error instanceof Error ? error : new Error(String(error)))
    throw error
  } finally {
    await chunks.return(undefined)
  }
}

/** @returns whether the headers are to be sent before the first byte is here */
async function waitForFirst(first: Promise<unknown>, isComing: () => boolean): Promise<boolean> {
  const since = performance.now()
  const patience = new AbortController()
  const isHere = first.then(() => true)
  try {
    for (;;) {
      const pause = delay(askEvery, false, { signal: patience.signal })
      pause.catch(() => {})
      if (await Promise.race([isHere, pause])) return false
      const waited = performance.now() - since
      if (waited >= headersPatience && isComing()) return true
      if (waited >= firstBytePatience)
        throw new OciError('UNAVAILABLE', `nobody has sent a byte of it for ${firstBytePatience / 1000} s`)
    }
  } finally {
    patience.abort()
    isHere.catch(() => {})
  }
}

/** Nothing is read before its turn, as it would wait in memory. */
async function* inTurn(body: AsyncIterable<Uint8Array>, enter: () => Promise<() => void>): AsyncGenerator<Uint8Array> {
  const leave = await enter()
  try {
    yield* body
  } finally {
    leave()
  }
}

function write(res: ServerResponse, chunk: Uint8Array, readers: Readers): Promise<void> {
  return new Promise((resolve, reject) => {
    // The callback of a write is lost when the socket is destroyed before it, hence the listener.
    const onClose = () => {
      clearInterval(stalled)
      reject(new Error('the client closed the connection'))
    }
    const stalled = setInterval(() => {
      if (readers.isCrowded) res.destroy(new Error('the client takes nothing while others wait'))
    }, crowdedPatience)
    if (res.destroyed) return onClose()
    res.once('close', onClose)
    res.write(chunk, (error) => {
      res.off('close', onClose)
      clearInterval(stalled)
      if (error) reject(error)
      else resolve()
    })
  })
}
