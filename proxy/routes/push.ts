import type { IncomingMessage } from 'node:http'
import { setTimeout as delay } from 'node:timers/promises'
import { isLocalClient } from '../local-client.ts'
import { OciError } from '../oci/errors.ts'
import type { RegistryContext } from './context.ts'

/** Who may push and delete: programs of this machine, everybody who reaches the port, or nobody. */
export type PushPolicy = 'loopback' | 'always' | 'never'

/**
 * @throws {OciError} DENIED, where a request may not change anything; UNSUPPORTED for a deletion where nobody may delete
 * (distribution-spec 1.1, "Content Management")
 */
export function assertMayPush({ req, method }: RegistryContext, policy: PushPolicy): void {
  if (policy === 'always' || (policy === 'loopback' && isLocalClient(req))) return
  if (policy === 'loopback') {
    throw new OciError(
      'DENIED',
      'only programs of its own machine may push to this node, or delete from it, unless registry.push is set to always',
    )
  }
  const text = 'this node takes no pushes and no deletions (registry.push)'
  throw method === 'DELETE'
    ? new OciError('UNSUPPORTED', text, { headers: { Allow: 'GET, HEAD' } })
    : new OciError('DENIED', text)
}

/** Requests whose clients wait before they send a body (RFC 9110, 10.1.1), and were told to go on. */
const invited = new WeakSet<IncomingMessage>()

/** The body of a request as it arrives; the connection outlives a reader that stops. @throws {OciError} where the client goes away */
export async function* bodyOf({ req, res }: RegistryContext): AsyncGenerator<Uint8Array> {
  if (req.headers.expect !== undefined) {
    invited.add(req)
    res.writeContinue()
  }
  try {
    yield* req.iterator({ destroyOnReturn: false })
  } catch (cause) {
    throw new OciError('BLOB_UPLOAD_INVALID', 'the connection was cut before the end of the body', { cause })
  }
}

/** How long the rest of a body is discarded before it is answered, in ms: on loopback, time for gigabytes. */
const discardLimit = 5_000

/**
 * Takes what is left of a body that was refused: a client that still sends when its connection is closed may never see the answer
 * which says why.
 */
export async function discardBody(ctx: RegistryContext, next: () => Promise<unknown>): Promise<void> {
  await next()
  const { req } = ctx
  if (req.complete || req.destroyed || lengthOf(ctx) === 0) return
  if (req.headers.expect !== undefined && !invited.has(req)) {
    // It may send the body, or not: then the next request of the connection would be taken for it.
    ctx.set('Connection', 'close')
    return
  }
  const timer = new AbortController()
  const isOver = new Promise<void>((resolve) => {
    for (const event of ['end', 'close', 'error']) req.once(event, () => resolve())
  })
  req.resume()
  await Promise.race([isOver, delay(discardLimit, undefined, { signal: timer.signal }).catch(() => {})])
  timer.abort()
}

/** The `Content-Length` of a request; undefined where the client does not know it. */
export function lengthOf({ req }: RegistryContext): number | undefined {
  if (req.headers['transfer-encoding'] !== undefined) return undefined
  return Number(req.headers['content-length'] ?? 0)
}
