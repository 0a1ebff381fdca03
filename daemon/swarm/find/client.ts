import type { Stream } from '@libp2p/interface'
import type { Logger } from 'pino'
import type { PeerId } from '../ports.ts'
import { ANSWER_TIMEOUT_MS, OPEN_TIMEOUT_MS } from './constants.ts'
import { decodeAnswer, encodeRequest, Messages } from './message.ts'

interface Pending extends PromiseWithResolvers<readonly PeerId[]> {
  readonly since: number
}

/** The stream on which one peer is asked. */
class Conversation {
  readonly #stream: Stream
  /** In order of sending. */
  readonly #pending = new Map<number, Pending>()
  #lastId = 0

  constructor(stream: Stream) {
    this.#stream = stream
    const messages = new Messages(decodeAnswer)
    stream.addEventListener('message', ({ data }) => {
      try {
        for (const { id, providers } of messages.push(data.subarray())) {
          this.#pending.get(id)?.resolve(providers)
          this.#pending.delete(id)
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

  async ask(key: Uint8Array): Promise<readonly PeerId[]> {
    const [oldest] = this.#pending.values()
    const now = performance.now()
    if (oldest !== undefined && now - oldest.since > ANSWER_TIMEOUT_MS) throw new Error('the peer does not answer')
    this.#lastId = (this.#lastId + 1) >>> 0
    const pending: Pending = { ...Promise.withResolvers(), since: now }
    this.#pending.set(this.#lastId, pending)
    // Where sending fails nobody waits for it, and the stream's end rejects it all the same.
    pending.promise.catch(() => {})
    this.#stream.send(encodeRequest({ id: this.#lastId, key }))
    return await pending.promise
  }
}

interface FindClientOptions {
  readonly openStream: (peer: PeerId, signal: AbortSignal) => Promise<Stream>
  readonly log: Logger
}

/** Asks connected peers for providers, on one stream each. */
export class FindClient {
  readonly #options: FindClientOptions
  readonly #conversations = new Map<PeerId, Promise<Conversation>>()

  constructor(options: FindClientOptions) {
    this.#options = options
  }

  /** Opens the stream to a peer ahead of the first question. */
  prepare(peer: PeerId): void {
    this.#conversationWith(peer).catch((error) => this.#options.log.debug({ peer, err: error }, 'no stream to ask on'))
  }

  forget(peer: PeerId): void {
    this.#conversations.delete(peer)
  }

  /**
   * Providers that a peer's records name for a key. Rejects where the peer can't be asked or the connection goes. The caller
   * bounds the wait; a peer that leaves questions open is not asked again until it answers.
   */
  async ask(peer: PeerId, key: Uint8Array): Promise<readonly PeerId[]> {
    const conversation = await this.#conversationWith(peer)
    if (conversation.isOpen) return await conversation.ask(key)
    this.forget(peer)
    return await (await this.#conversationWith(peer)).ask(key)
  }

  #conversationWith(peer: PeerId): Promise<Conversation> {
    const existing = this.#conversations.get(peer)
    if (existing !== undefined) return existing
    const opening = this.#options
      .openStream(peer, AbortSignal.timeout(OPEN_TIMEOUT_MS))
      .then((stream) => new Conversation(stream))
    this.#conversations.set(peer, opening)
    opening.catch(() => {
      if (this.#conversations.get(peer) === opening) this.#conversations.delete(peer)
    })
    return opening
  }
}
