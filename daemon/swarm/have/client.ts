import type { Stream } from '@libp2p/interface'
import type { Digest } from '../../../proxy/oci/digest.ts'
import { Conversation, Conversations } from '../conversation.ts'
import type { HaveListener, PeerId } from '../ports.ts'
import { MAX_HAVE_BYTES, OPEN_TIMEOUT_MS } from './constants.ts'
import { factsOf, type HaveAnswer, type HaveQuestion, parseAnswer } from './message.ts'

/** Watches which chunks of blobs peers hold, on one stream for each peer. */
export class HaveClient {
  readonly #conversations: Conversations<WatchedPeer>

  /** @param onRequests told how many requests for chunks a peer has under way itself */
  constructor(
    openStream: (peer: PeerId, signal: AbortSignal) => Promise<Stream>,
    onRequests: (peer: PeerId, requests: number) => void,
  ) {
    const start = (peer: PeerId, stream: Stream) => new WatchedPeer(stream, (requests) => onRequests(peer, requests))
    this.#conversations = new Conversations({ openStream, openTimeout: OPEN_TIMEOUT_MS, start })
  }

  forget(peer: PeerId): void {
    this.#conversations.forget(peer)
  }

  /**
   * Watches a blob at a peer until the signal is aborted. Failures are told as `gone`.
   * @param isBack whether the blob is held here, and the peer watches it here; who is watched back does not watch back
   */
  watch(peer: PeerId, digest: Digest, listener: HaveListener, signal: AbortSignal, isBack = false): void {
    this.#conversations.with(peer).then(
      (conversation) => conversation.watch(digest, isBack, listener, signal),
      () => {
        if (!signal.aborted) listener.gone()
      },
    )
  }
}

class WatchedPeer {
  readonly #conversation: Conversation<HaveAnswer, HaveQuestion>
  /** By the number of the watch, with whether the peer has introduced the blob. */
  readonly #watches = new Map<number, { readonly listener: HaveListener; isIntroduced: boolean }>()
  readonly #onRequests: (requests: number) => void
  #lastId = 0

  constructor(stream: Stream, onRequests: (requests: number) => void) {
    this.#onRequests = onRequests
    this.#conversation = new Conversation<HaveAnswer, HaveQuestion>({
      stream,
      maxBytes: MAX_HAVE_BYTES,
      parse: parseAnswer,
      onMessage: (answer) => this.#tell(answer),
      onClose: () => {
        const watches = [...this.#watches.values()]
        this.#watches.clear()
        for (const { listener } of watches) listener.gone()
      },
    })
  }

  get isOpen(): boolean {
    return this.#conversation.isOpen
  }

  watch(digest: Digest, isBack: boolean, listener: HaveListener, signal: AbortSignal): void {
    if (signal.aborted) return
    this.#lastId = (this.#lastId + 1) >>> 0
    const id = this.#lastId
    this.#watches.set(id, { listener, isIntroduced: false })
    signal.addEventListener(
      'abort',
      () => {
        if (this.#watches.delete(id)) this.#conversation.send({ type: 'leave', id })
      },
      { once: true },
    )
    this.#conversation.send({ type: 'watch', id, digest, ...(isBack ? { back: true } : {}) })
  }

  #tell(answer: HaveAnswer): void {
    const watch = this.#watches.get(answer.id)
    if (watch === undefined) return
    const { listener, isIntroduced } = watch
    watch.isIntroduced = answer.type !== 'none'
    if (answer.type === 'got' && answer.requests !== undefined) this.#onRequests(answer.requests)
    if (answer.type === 'none') listener.gone()
    else if ((answer.type === 'blob') === isIntroduced) throw new Error(`an unexpected message: ${answer.type}`)
    else if (answer.type === 'got') listener.got(answer.chunks, answer.states)
    else {
      const { facts, held } = factsOf(answer)
      listener.blob(facts, held, answer.states, answer.isComplete)
    }
  }
}
