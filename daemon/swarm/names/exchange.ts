import type { Connection, Stream, StreamHandler } from '@libp2p/interface'
import type { Logger } from 'pino'
import { Conversation, Conversations } from '../conversation.ts'
import { FAULT_COST } from '../limits/costs.ts'
import type { PeerLimits } from '../limits/peer-limits.ts'
import type { NameListener, Names, PeerId, SignedName } from '../ports.ts'
import {
  ASK_COST,
  ASKED_MS,
  MAX_EARLY,
  MAX_MESSAGE_BYTES,
  MAX_PENDING,
  OPEN_TIMEOUT_MS,
  REFRESH_MS,
} from './constants.ts'
import { NameLink } from './link.ts'
import { decodeMessage, encodeMessage, type NamesMessage } from './message.ts'

interface NameExchangeOptions {
  /** Who knows what the records mean; without one, nothing is told, and what comes is left alone. */
  readonly names?: NameListener | undefined
  readonly openStream: (peer: PeerId, signal: AbortSignal) => Promise<Stream>
  readonly limits: Pick<PeerLimits, 'spend'>
  readonly log: Logger
}

/**
 * Passes signed records of names on. New ones go to all peers at once, and whoever takes one passes it on to its own, so it reaches all
 * of a swarm of any size by the connections that there are. At a new connection, and once in a while, both sides tell sums of what
 * they know of each publisher; where they differ, one of those who know something else is asked for it.
 */
export class NameExchange implements Names {
  readonly #options: NameExchangeOptions
  readonly #conversations: Conversations<Conversation<NamesMessage, object>>
  readonly #links = new Map<PeerId, NameLink>()
  /** Publishers whom some peer was asked for a moment ago, and who has told other sums of them since. */
  readonly #asked = new Map<PeerId, { readonly timer: NodeJS.Timeout; readonly others: Map<PeerId, Uint8Array> }>()
  /** Sums of peers that can't be told anything yet: one side may find out sooner than the other that it can. */
  readonly #early = new Map<PeerId, Map<PeerId, Uint8Array>>()
  readonly #refresh: NodeJS.Timeout

  constructor(options: NameExchangeOptions) {
    this.#options = options
    const start = (peer: PeerId, stream: Stream) => this.#converse(peer, stream)
    this.#conversations = new Conversations({ openStream: options.openStream, openTimeout: OPEN_TIMEOUT_MS, start })
    this.#refresh = setInterval(() => {
      for (const link of this.#links.values()) link.pushSums()
    }, REFRESH_MS).unref()
  }

  /** To be called when a peer can be told something. */
  joined(peer: PeerId): void {
    const { names: listener, log } = this.#options
    if (listener === undefined) return
    this.#links.get(peer)?.close()
    const link = new NameLink({
      sums: () => listener.sumsFor(peer),
      namesOf: (publisher) => listener.namesFor(peer, publisher),
      send: (message) => this.#send(peer, encodeMessage(message)),
      onFailure: (error) => log.debug({ peer, err: error }, 'a peer could not be told of names; trying again later'),
    })
    this.#links.set(peer, link)
    const early = this.#early.get(peer)
    this.#early.delete(peer)
    for (const [publisher, sum] of early ?? []) this.#compare(peer, publisher, sum)
    link.pushSums()
  }

  left(peer: PeerId): void {
    this.#links.get(peer)?.close()
    this.#links.delete(peer)
    this.#early.delete(peer)
    this.#conversations.forget(peer)
  }

  stop(): void {
    clearInterval(this.#refresh)
    for (const peer of [...this.#links.keys()]) this.left(peer)
    for (const { timer } of this.#asked.values()) clearTimeout(timer)
    this.#asked.clear()
  }

  tell(name: SignedName, except?: PeerId): void {
    for (const [peer, link] of this.#links) if (peer !== except) link.push(name)
  }

  ask(publisher: PeerId): void {
    const own = this.#links.get(publisher)
    for (const link of own === undefined ? this.#links.values() : [own]) link.ask(publisher)
  }

  /** Takes streams that peers open. */
  readonly handler: StreamHandler = (stream: Stream, connection: Connection) => {
    const peer = connection.remotePeer.toString()
    this.#conversations.adopt(peer, this.#converse(peer, stream))
  }

  async #send(peer: PeerId, message: object): Promise<void> {
    const conversation = await this.#conversations.with(peer)
    conversation.send(message)
    if (!conversation.isClogged) return
    const { promise, resolve } = Promise.withResolvers<void>()
    conversation.whenDrained(resolve)
    // A stream that ends tells of it by the next message.
    const timer = setTimeout(resolve, OPEN_TIMEOUT_MS)
    await promise.finally(() => clearTimeout(timer))
  }

  #converse(peer: PeerId, stream: Stream): Conversation<NamesMessage, object> {
    return new Conversation<NamesMessage, object>({
      stream,
      maxBytes: MAX_MESSAGE_BYTES,
      parse: (value) => this.#charged(peer, () => decodeMessage(value)),
      onMessage: (message) => this.#charged(peer, () => this.#heard(peer, message)),
      onClose: () => this.#links.get(peer)?.broke(),
    })
  }

  #heard(peer: PeerId, message: NamesMessage): void {
    const { names: listener, limits } = this.#options
    if (listener === undefined) return
    if ('names' in message) listener.named(peer, message.names)
    else if ('sums' in message) for (const [publisher, sum] of message.sums) this.#compare(peer, publisher, sum)
    else if (limits.spend(peer, ASK_COST * message.ask.length, 'questions for names'))
      for (const publisher of message.ask) this.#links.get(peer)?.answer(publisher)
  }

  /** Asks for what a peer knows of a publisher where that is something else, unless another peer was just asked. */
  #compare(peer: PeerId, publisher: PeerId, sum: Uint8Array): void {
    if (this.#options.names?.wants(peer, publisher, sum) !== true) return
    const link = this.#links.get(peer)
    if (link === undefined) {
      this.#keepEarly(peer, publisher, sum)
      return
    }
    const asked = this.#asked.get(publisher)
    if (asked !== undefined) {
      if (asked.others.size < MAX_PENDING) asked.others.set(peer, sum)
      return
    }
    if (this.#asked.size >= MAX_PENDING) return
    link.ask(publisher)
    const others = new Map<PeerId, Uint8Array>()
    const timer = setTimeout(() => {
      this.#asked.delete(publisher)
      for (const [other, told] of others) if (this.#links.has(other)) this.#compare(other, publisher, told)
    }, ASKED_MS).unref()
    this.#asked.set(publisher, { timer, others })
  }

  /** Of a peer that is late, the first sums; of too many peers, the latest. */
  #keepEarly(peer: PeerId, publisher: PeerId, sum: Uint8Array): void {
    const early = this.#early.get(peer) ?? new Map<PeerId, Uint8Array>()
    if (early.size < MAX_PENDING) this.#early.set(peer, early.set(publisher, sum))
    const [oldest] = this.#early.keys()
    if (this.#early.size > MAX_EARLY && oldest !== undefined) this.#early.delete(oldest)
  }

  /** A message that breaks the protocol is charged for, and ends the stream. */
  #charged<T>(peer: PeerId, work: () => T): T {
    try {
      return work()
    } catch (error) {
      this.#options.log.debug({ peer, err: error }, 'a peer says something of names that it should not')
      this.#options.limits.spend(peer, FAULT_COST, 'messages that it should not send')
      throw error
    }
  }
}
