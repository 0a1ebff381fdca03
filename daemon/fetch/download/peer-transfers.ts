import { StoreError } from '../../store/errors.ts'
import { PeerError, type PeerId } from '../../swarm/ports.ts'
import type { ChunkRequest, RequestEnd, Session } from '../../swarm/session/session.ts'
import { quarterBytes as chunkBytes, quarterLength as chunkLength } from '../../verify/quarter.ts'
import { messageOf } from '../errors.ts'
import type { Assembly } from './assembly.ts'
import type { Attempt } from './context.ts'
import { WrongQuarter } from './receiver.ts'
import type { View } from './view.ts'

interface PeerTransfersOptions {
  readonly attempt: Attempt
  /** What a peer says at present. */
  readonly viewOf: (peer: PeerId) => View | undefined
  /** A chunk does not fit our list; with what its sender said when it was asked. */
  readonly onWrong: (view: View, chunk: number, assembly: Assembly) => void
  /** Called whenever a request has ended. */
  readonly onEnd: () => void
}

/** The requests for chunks that are under way to the peers of one attempt. */
export class PeerTransfers {
  readonly #attempt: Attempt
  readonly #options: PeerTransfersOptions
  readonly #running = new Map<number, AbortController>()
  #bytes = 0

  constructor(options: PeerTransfersOptions) {
    const { attempt } = options
    this.#attempt = attempt
    this.#options = options
    attempt.signal.addEventListener('abort', () => {
      for (const cancel of this.#running.values()) cancel.abort(attempt.signal.reason)
    })
  }

  get running(): number {
    return this.#running.size
  }

  /** Bytes that came so far. */
  get bytes(): number {
    return this.#bytes
  }

  cancel(id: number, reason: string): void {
    this.#running.get(id)?.abort(new Error(reason))
  }

  /** Runs one request to its end, and tells the session how it went. */
  async run(request: ChunkRequest, assembly: Assembly, session: Session): Promise<void> {
    const { tools, signal, request: asked } = this.#attempt
    const { id, peer, first, count } = request
    const view = this.#options.viewOf(peer)
    const cancel = new AbortController()
    this.#running.set(id, cancel)
    tools.slots.take()
    try {
      const start = first * chunkBytes
      const end = Math.min(assembly.size, start + count * chunkBytes) - 1
      const { size, body } = await tools.swarm.open(peer, asked.digest, { start, end }, cancel.signal)
      if (size !== assembly.size) throw new PeerError('failed', peer, `peer ${peer} speaks of another blob`)
      await assembly.take({
        body,
        first,
        isUpstream: false,
        onBytes: (bytes) => {
          session.progress(id, performance.now())
          this.#bytes += bytes
          tools.onFetched('peer', bytes)
        },
        onQuarter: (chunk, fate) => {
          const bytes = chunkLength(chunk, assembly.size)
          if (fate === 'held') this.#attempt.held(chunk, peer)
          else tools.onWasted('duplicate', bytes)
          session.arrived(id, bytes, performance.now())
        },
      })
      session.ended(id, 'done', performance.now())
    } catch (error) {
      session.ended(id, this.#endOf(error, cancel.signal), performance.now())
      const wasCancelled = cancel.signal.aborted
      // A body that nobody has begun to read would stay open.
      cancel.abort(error)
      if (signal.aborted) return
      if (error instanceof WrongQuarter) {
        session.peers.lacks(peer, error.quarter)
        tools.onWasted('wrong', chunkLength(error.quarter, assembly.size))
        if (view !== undefined) this.#options.onWrong(view, error.quarter, assembly)
      } else if (error instanceof StoreError) this.#attempt.fail(error)
      else if (!wasCancelled) {
        tools.logger.debug({ digest: asked.digest, peer, reason: messageOf(error) }, 'a peer did not give chunks')
      }
    } finally {
      this.#running.delete(id)
      tools.slots.give()
      this.#attempt.changed.notify()
      this.#options.onEnd()
    }
  }

  #endOf(error: unknown, cancelled: AbortSignal): RequestEnd {
    if (error instanceof PeerError && error.code !== 'aborted') return error.code
    return cancelled.aborted || this.#attempt.signal.aborted ? 'cancelled' : 'failed'
  }
}
