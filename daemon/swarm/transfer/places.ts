import type { SecureContext, TLSSocket } from 'node:tls'
import { parseAddress } from '../../../config/scalars.ts'
import type { KnownPeer } from '../known-peers.ts'
import type { TransferCertificate } from './certificate.ts'
import { connectPinned, createClientContext } from './pool.ts'

/** Where a transfer server may be. */
export interface Place {
  readonly host: string
  readonly port: number
}

/** Reads `host:port`; undefined where text is none. */
export function parsePlace(text: string): Place | undefined {
  const address = parseAddress(text)
  return address === undefined || address.port === 0 ? undefined : address
}

/** Finds out by which address a peer's transfer server is reached. */
export class Places {
  readonly #context: SecureContext
  readonly #connectMs: number

  /** @param connectMs bounds each attempt */
  constructor(certificate: TransferCertificate, connectMs: number) {
    this.#context = createClientContext(certificate)
    this.#connectMs = connectMs
  }

  /**
   * Tries all places at the same time: where the peer's connection comes from, and what the peer announces. Behind the same
   * router the first one answers, from outside often only the others. Gives the first that shows the peer's certificate, so that
   * a peer can't send traffic to somebody else; where none does, the one that its connection comes from.
   */
  async find(peer: KnownPeer, announced: readonly Place[], signal: AbortSignal): Promise<Place> {
    if (announced.length === 0) return peer
    const sockets: TLSSocket[] = []
    const onAbort = () => {
      for (const socket of sockets) socket.destroy()
    }
    signal.addEventListener('abort', onAbort)
    try {
      const attempts = [peer, ...announced].map(({ host, port }) => {
        const { promise, resolve, reject } = Promise.withResolvers<Place>()
        const onEnd = (error: Error | undefined) => (error === undefined ? resolve({ host, port }) : reject(error))
        sockets.push(connectPinned({ ...peer, host, port }, this.#context, this.#connectMs, onEnd))
        return promise
      })
      if (signal.aborted) onAbort()
      return await Promise.any(attempts)
    } catch {
      return peer
    } finally {
      signal.removeEventListener('abort', onAbort)
      // One that has not answered yet is given up with them.
      for (const socket of sockets) socket.on('error', () => {}).destroy()
    }
  }
}
