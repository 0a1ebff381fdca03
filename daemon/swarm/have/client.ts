import type { Stream } from '@libp2p/interface'
import type { Digest } from '../../../proxy/oci/digest.ts'
import { Conversation, Conversations } from '../conversation.ts'
import type { HaveListener, PeerId } from '../ports.ts'
import { MAX_HAVE_BYTES, OPEN_TIMEOUT_MS } from './constants.ts'
import { factsOf, type HaveAnswer, type HaveQuestion, parseAnswer } from './message.ts'

/** Watches which chunks of blobs peers hold, on one stream for each peer. */
export class HaveClient {
  readonly #conversations: Conversations<WatchedPeer>

  constructor(openStream: (peer: PeerId, signal: AbortSignal) => Promise<Stream>) {
    const start = (_: PeerId, stream: Stream) => new WatchedPeer(stream)
    this.#conversations = new Conversations({ openStream, openTimeout: OPEN_TIMEOUT_MS, start })
  }

  forget(peer: PeerId): void {
    this.#conversations.forget(peer)
  }

  /** Watches a blob at a peer until the signal is aborted. Failures are told as `gone`. */
  watch(peer: PeerId, digest: Digest, listener: HaveListener, signal: AbortSignal): void {
    this.#conversations.with(peer).then(
      (conversation) => conversation.watch(digest, listener, signal),
      () => {
        if (!signal.aborted) listener.gone()
      },
    )
  }
}

class WatchedPeer {
  readonly #conversation: Conversation<HaveAnswer, HaveQuestion>
  readonly #listeners = new Map<number, HaveListener>()
  #lastId = 0

  constructor(stream: Stream) {
    this.#conversation = new Conversation<HaveAnswer, HaveQuestion>({
      stream,
      maxBytes: MAX_HAVE_BYTES,
      parse: parseAnswer,
      onMessage: (answer) => this.#tell(answer),
      onClose: () => {
        const listeners = [...this.#listeners.values()]
        this.#listeners.clear()
        for (const listener of listeners) listener.gone()
      },
    })
  }

  get isOpen(): boolean {
    return this.#conversation.isOpen
  }

  watch(digest: Digest, listener: HaveListener, signal: AbortSignal): void {
    if (signal.aborted) return
    this.#lastId = (this.#lastId + 1) >>> 0
    const id = this.#lastId
    this.#listeners.set(id, listener)
    signal.addEventListener(
      'abort',
      () => {
        if (this.#listeners.delete(id)) this.#conversation.send({ type: 'leave', id })
      },
      { once: true },
    )
    this.#conversation.send({ type: 'watch', id, digest })
  }

  #tell(answer: HaveAnswer): void {
    const listener = this.#listeners.get(answer.id)
    if (answer.type === 'none') listener?.gone()
    else if (answer.type === 'got') listener?.got(answer.chunks, answer.states)
    else {
      const { facts, held } = factsOf(answer)
      listener?.blob(facts, held, answer.states, answer.isComplete)
    }
  }
}
