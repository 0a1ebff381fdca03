import type { Stream } from '@libp2p/interface'
import { Conversations } from '../conversation.ts'
import type { PeerId } from '../ports.ts'
import { OPEN_TIMEOUT_MS } from './constants.ts'
import { type Decode, Messages } from './message.ts'

/** What comes back for a request carries its number. */
interface Numbered {
  readonly id: number
}

interface Pending<A> extends PromiseWithResolvers<A> {
  readonly since: number
}

/** Numbered requests and their answers on a stream that stays open. */
class RequestStream<A extends Numbered> {
  readonly #stream: Stream
  readonly #patienceMs: number
  /** In order of sending. */
  readonly #pending = new Map<number, Pending<A>>()
  #lastId = 0

  constructor(stream: Stream, decode: Decode<A>, patienceMs: number) {
    this.#stream = stream
    this.#patienceMs = patienceMs
    const messages = new Messages(decode)
    stream.addEventListener('message', ({ data }) => {
      try {
        for (const answer of messages.push(data.subarray())) {
          const pending = this.#pending.get(answer.id)
          // Answers cost the peer nothing, so there must not be more of them than questions.
          if (pending === undefined) throw new Error('the peer answers what it was not asked')
          pending.resolve(answer)
          this.#pending.delete(answer.id)
        }
      } catch (error) {
        stream.abort(error as Error)
      }
    })
    stream.addEventListener('close', () => {
      for (const { reject } of this.#pending.values()) reject(new Error('the stream was closed'))
      this.#pending.clear()
    })
  }

  get isOpen(): boolean {
    return this.#stream.status === 'open'
  }

  async ask(encode: (id: number) => Uint8Array): Promise<A> {
    const [oldest] = this.#pending.values()
    const now = performance.now()
    if (oldest !== undefined && now - oldest.since > this.#patienceMs) throw new Error('the peer does not answer')
    this.#lastId = (this.#lastId + 1) >>> 0
    const pending: Pending<A> = { ...Promise.withResolvers(), since: now }
    this.#pending.set(this.#lastId, pending)
    // Where sending fails nobody waits for it, and the stream's end rejects it all the same.
    pending.promise.catch(() => {})
    this.#stream.send(encode(this.#lastId))
    return await pending.promise
  }
}

interface RequestsOptions<A> {
  readonly openStream: (peer: PeerId, signal: AbortSignal) => Promise<Stream>
  readonly decode: Decode<A>
  /** A peer that leaves a request unanswered for this long is not asked again until it answers, in ms. */
  readonly patienceMs: number
}

/** Requests to connected peers, on one stream each. */
export class Requests<A extends Numbered> {
  readonly #streams: Conversations<RequestStream<A>>

  constructor({ openStream, decode, patienceMs }: RequestsOptions<A>) {
    const start = (_: PeerId, stream: Stream) => new RequestStream(stream, decode, patienceMs)
    this.#streams = new Conversations({ openStream, openTimeout: OPEN_TIMEOUT_MS, start })
  }

  /** Opens the stream to a peer ahead of the first request. Rejects where there is no connection. */
  async prepare(peer: PeerId): Promise<void> {
    await this.#streams.with(peer)
  }

  forget(peer: PeerId): void {
    this.#streams.forget(peer)
  }

  /**
   * Sends a request, and gives its answer. Rejects where the peer can't be asked or the connection goes. The caller bounds
   * the wait.
   */
  async ask(peer: PeerId, encode: (id: number) => Uint8Array): Promise<A> {
    return await (await this.#streams.with(peer)).ask(encode)
  }
}
