import type { Connection, Stream, StreamHandler } from '@libp2p/interface'
import type { Logger } from 'pino'
import { Conversation, Conversations } from '../conversation.ts'
import { FAULT_COST } from '../limits/costs.ts'
import type { PeerLimits } from '../limits/peer-limits.ts'
import type { NameListener, Names, PeerId, SignedName } from '../ports.ts'
import { ASK_COST, MAX_MESSAGE_BYTES, OPEN_TIMEOUT_MS, REFRESH_MS } from './constants.ts'
import { NameLink } from './link.ts'
import { decodeMessage, encodeNames, type NamesMessage } from './message.ts'

interface NameExchangeOptions {
  /** Who knows what the records mean; without one, nothing is told, and what comes is left alone. */
  readonly names?: NameListener | undefined
  readonly openStream: (peer: PeerId, signal: AbortSignal) => Promise<Stream>
  readonly limits: Pick<PeerLimits, 'spend'>
  readonly log: Logger
}

/**
 * Passes signed records of names on: all at a new connection, new ones at once, and those of one publisher to whoever asks. Whoever
 * takes a record passes it on to its own peers, so it reaches all of a swarm of any size by the connections that there are.
 */
export class NameExchange implements Names {
  readonly #options: NameExchangeOptions
  readonly #conversations: Conversations<Conversation<NamesMessage, object>>
  readonly #links = new Map<PeerId, NameLink>()
  readonly #refresh: NodeJS.Timeout

  constructor(options: NameExchangeOptions) {
    this.#options = options
    const start = (peer: PeerId, stream: Stream) => this.#converse(peer, stream)
    this.#conversations = new Conversations({ openStream: options.openStream, openTimeout: OPEN_TIMEOUT_MS, start })
    this.#refresh = setInterval(() => {
      for (const link of this.#links.values()) link.pushAll()
    }, REFRESH_MS).unref()
  }

  /** To be called when a peer can be told something. */
  joined(peer: PeerId): void {
    const { names: listener, log } = this.#options
    if (listener === undefined) return
    this.#links.get(peer)?.close()
    const link = new NameLink({
      all: () => listener.namesFor(peer),
      send: (names) => this.#send(peer, encodeNames(names)),
      onFailure: (error) => log.debug({ peer, err: error }, 'a peer could not be told of names; trying again later'),
    })
    this.#links.set(peer, link)
    link.pushAll()
  }

  left(peer: PeerId): void {
    this.#links.get(peer)?.close()
    this.#links.delete(peer)
    this.#conversations.forget(peer)
  }

  stop(): void {
    clearInterval(this.#refresh)
    for (const peer of [...this.#links.keys()]) this.left(peer)
  }

  tell(name: SignedName, except?: PeerId): void {
    for (const [peer, link] of this.#links) if (peer !== except) link.push(name)
  }

  ask(publisher: PeerId): void {
    for (const peer of this.#links.keys()) {
      this.#send(peer, { ask: publisher }).catch((error: unknown) =>
        this.#options.log.debug({ peer, err: error }, 'a peer could not be asked for names'),
      )
    }
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
      onClose: () => {},
    })
  }

  #heard(peer: PeerId, message: NamesMessage): void {
    const { names: listener, limits } = this.#options
    if (listener === undefined) return
    if ('names' in message) listener.named(peer, message.names)
    else if (limits.spend(peer, ASK_COST, 'questions for names'))
      this.#links.get(peer)?.answer(listener.namesFor(peer, message.ask))
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
