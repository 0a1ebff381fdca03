import { createHash } from 'node:crypto'
import type { Stream } from '@libp2p/interface'
import { Conversation, Conversations } from '../conversation.ts'
import type { ClosestPeers } from '../coordination/closest.ts'
import { COORDINATORS } from '../coordination/constants.ts'
import { nearestPeers } from '../find/nearest.ts'
import type { PeerId } from '../ports.ts'
import type { ClaimAnswer, ClaimBook, ClaimQuestion } from './book.ts'
import {
  ANSWER_TIMEOUT_MS,
  LATER_ANSWER_TIMEOUT_MS,
  MAX_ANSWER_BYTES,
  OPEN_TIMEOUT_MS,
  SILENT_MS,
} from './constants.ts'
import { type ClaimRequest, type ClaimResponse, parseResponse } from './message.ts'

interface ClaimClientOptions {
  readonly self: PeerId
  /** This node's own book: it is the coordinator of some keys itself. */
  readonly book: ClaimBook
  /** Peers that can be asked. */
  readonly peers: () => readonly PeerId[]
  /** Peers near a key that may not be connected. */
  readonly closest: Pick<ClosestPeers, 'near'>
  readonly openStream: (peer: PeerId, signal: AbortSignal) => Promise<Stream>
}

/** Asks the coordinator of a key for its claim; where it does not answer, the next one. */
export class ClaimClient {
  readonly #options: ClaimClientOptions
  readonly #conversations: Conversations<Coordinator>
  /** Those that left a question open, and until when they are passed over. */
  readonly #silent = new Map<PeerId, number>()

  constructor(options: ClaimClientOptions) {
    this.#options = options
    const start = (_: PeerId, stream: Stream) => new Coordinator(stream)
    this.#conversations = new Conversations({ openStream: options.openStream, openTimeout: OPEN_TIMEOUT_MS, start })
  }

  /** To be called when a peer is gone. */
  forget(peer: PeerId): void {
    this.#conversations.forget(peer)
    this.#silent.delete(peer)
  }

  /** Opens the stream to a peer ahead of the first question. */
  prepare(peer: PeerId): void {
    this.#conversations.with(peer).catch(() => {})
  }

  /**
   * Asks for a key. All nodes that see the same peers ask the same one.
   * @returns undefined where no coordinator answers; each has {@link ANSWER_TIMEOUT_MS}, or {@link LATER_ANSWER_TIMEOUT_MS}
   */
  async ask(key: string, question: ClaimQuestion, signal: AbortSignal): Promise<ClaimAnswer | undefined> {
    const { self, book, peers, closest } = this.#options
    const place = sha256(key)
    const all = new Set([...peers(), ...(await closest.near(place))])
    const now = performance.now()
    const able = [...all].filter((peer) => peer !== self && (this.#silent.get(peer) ?? 0) < now)
    for (const peer of nearestPeers([...able, self], place, COORDINATORS)) {
      if (signal.aborted) return undefined
      if (peer === self) return book.ask(key, self, question, performance.now())
      try {
        return await this.#askPeer(peer, key, question, signal)
      } catch {
        if (!signal.aborted) this.#silent.set(peer, performance.now() + SILENT_MS)
      }
    }
    return undefined
  }

  async #askPeer(peer: PeerId, key: string, question: ClaimQuestion, signal: AbortSignal): Promise<ClaimAnswer> {
    const { promise, reject } = Promise.withResolvers<never>()
    const givenUp = new AbortController()
    const onAbort = () => reject(signal.reason)
    const limit = question.wish === 'if-nobody' ? ANSWER_TIMEOUT_MS : LATER_ANSWER_TIMEOUT_MS
    const timer = setTimeout(() => reject(new Error('no answer')), limit)
    signal.addEventListener('abort', onAbort, { once: true })
    try {
      const asking = this.#conversations.with(peer).then((one) => one.ask(key, question, givenUp.signal))
      return await Promise.race([asking, promise])
    } finally {
      givenUp.abort()
      clearTimeout(timer)
      signal.removeEventListener('abort', onAbort)
    }
  }
}

class Coordinator {
  readonly #conversation: Conversation<ClaimResponse, ClaimRequest>
  readonly #pending = new Map<number, PromiseWithResolvers<ClaimAnswer>>()
  #lastId = 0

  constructor(stream: Stream) {
    this.#conversation = new Conversation<ClaimResponse, ClaimRequest>({
      stream,
      maxBytes: MAX_ANSWER_BYTES,
      parse: parseResponse,
      onMessage: ({ id, ...answer }) => {
        this.#pending.get(id)?.resolve(answer)
        this.#pending.delete(id)
      },
      onClose: (error) => {
        for (const { reject } of this.#pending.values()) reject(error)
        this.#pending.clear()
      },
    })
  }

  get isOpen(): boolean {
    return this.#conversation.isOpen
  }

  /** The caller bounds the wait by the signal. */
  ask(key: string, question: ClaimQuestion, signal: AbortSignal): Promise<ClaimAnswer> {
    this.#lastId = (this.#lastId + 1) >>> 0
    const id = this.#lastId
    const pending = Promise.withResolvers<ClaimAnswer>()
    pending.promise.catch(() => {})
    if (signal.aborted) return pending.promise
    this.#pending.set(id, pending)
    signal.addEventListener('abort', () => this.#pending.delete(id), { once: true })
    this.#conversation.send({ id, key, ...question })
    return pending.promise
  }
}

function sha256(text: string): Uint8Array {
  return createHash('sha256').update(text).digest()
}
