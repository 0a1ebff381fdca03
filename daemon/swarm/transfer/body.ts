import type { IncomingMessage } from 'node:http'
import { PeerError, type PeerId } from '../ports.ts'

interface BodyOptions {
  readonly peer: PeerId
  /** Bytes that must come, no more and no fewer. */
  readonly length: number
  /** Longest silence while bytes are waited for, in ms; time that the reader takes does not count. */
  readonly idleMs: number
  readonly signal: AbortSignal
  readonly onBroken: (peer: PeerId) => void
}

/** The bytes of a response. @throws {PeerError} where the peer stalls, ends early or sends too much */
export async function* readBody(response: IncomingMessage, options: BodyOptions): AsyncGenerator<Uint8Array, void> {
  const { peer, length, idleMs, signal, onBroken } = options
  let waiting = false
  const timer = setTimeout(() => {
    if (waiting) response.destroy(new Error(`nothing came for ${idleMs} ms`))
  }, idleMs)
  const chunks = response.iterator({ destroyOnReturn: true })
  let received = 0
  try {
    for (;;) {
      waiting = true
      timer.refresh()
      const { done, value } = await chunks.next()
      waiting = false
      if (done) break
      const chunk = value as Buffer
      received += chunk.byteLength
      if (received > length) throw new Error(`sent more than the ${length} bytes asked for`)
      yield chunk
    }
    if (received < length) throw new Error(`sent ${received} of ${length} bytes`)
  } catch (cause) {
    if (signal.aborted) throw new PeerError('aborted', peer, `the transfer from peer ${peer} was aborted`, { cause })
    onBroken(peer)
    throw new PeerError('failed', peer, `peer ${peer}: ${(cause as Error).message}`, { cause })
  } finally {
    clearTimeout(timer)
    await chunks.return?.()
  }
}

/** A small body as a whole. */
export async function readAll(body: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const chunks: Uint8Array[] = []
  for await (const chunk of body) chunks.push(chunk)
  return Buffer.concat(chunks)
}
