import type { Connection, Stream, StreamHandler } from '@libp2p/interface'
import { Conversation, Conversations } from '../conversation.ts'
import type { PeerId } from '../ports.ts'
import { BUSY, UNREACHABLE } from './answers.ts'
import {
  DEADLINE_TICKS,
  MAX_HOPS,
  MAX_UNDER_WAY,
  MOST_TICKS,
  OPEN_TIMEOUT_MS,
  SILENT_TICKS,
  TICK_MS,
} from './constants.ts'
import { Load, passCost } from './load.ts'
import { type Answer, type Ask, MAX_ROUTED_BYTES, type Message, parseMessage } from './message.ts'

interface RoutingStreamsOptions {
  readonly openStream: (peer: PeerId, signal: AbortSignal) => Promise<Stream>
  /** A peer asks; the answer goes back to it. */
  readonly onAsk: (from: PeerId, ask: Ask, hops: number) => Promise<Answer>
  /** A peer leaves for lack of room. */
  readonly onFull: (peer: PeerId) => void
  /** A peer says whether the swarm is large. */
  readonly onLarge: (peer: PeerId, isLarge: boolean) => void
}

interface Pending {
  readonly resolve: (answer: Answer) => void
  /** It is given up after this many more. */
  ticks: number
}

/** Questions and answers with one peer, in both directions. */
class Line {
  readonly conversation: Conversation<Message, Message>
  readonly #pending = new Map<number, Pending>()
  #lastId = 0
  #silentTicks = 0
  /** Questions of the peer that are not answered yet. */
  underWay = 0

  constructor(stream: Stream, onMessage: (line: Line, message: Message) => void) {
    this.conversation = new Conversation<Message, Message>({
      stream,
      maxBytes: MAX_ROUTED_BYTES,
      parse: parseMessage,
      onMessage: (message) => {
        this.#silentTicks = 0
        if ('answer' in message) this.#settle(message.id, message.answer)
        else onMessage(this, message)
      },
      onClose: () => this.end(),
    })
  }

  get isOpen(): boolean {
    return this.conversation.isOpen
  }

  /** Nothing is waited for any more. */
  end(): void {
    for (const id of [...this.#pending.keys()]) this.#settle(id, UNREACHABLE)
  }

  /** Whether nothing comes from the peer although something is waited for. */
  get isSilent(): boolean {
    return this.#silentTicks >= SILENT_TICKS
  }

  /** Undefined where it can't be sent. Never rejects. */
  async ask(ask: Ask, hops: number): Promise<Answer | undefined> {
    if (!this.isOpen || this.conversation.isClogged) return undefined
    const { promise, resolve } = Promise.withResolvers<Answer>()
    const id = ++this.#lastId
    this.#pending.set(id, { resolve, ticks: ticksFor(hops) })
    this.conversation.send({ id, hops, ask })
    return await promise
  }

  tick(): void {
    // Where nothing is waited for any more, the peer is asked again after a while: it may have come back.
    this.#silentTicks = this.#pending.size > 0 ? Math.min(this.#silentTicks + 1, MOST_TICKS) : this.#silentTicks - 1
    this.#silentTicks = Math.max(0, this.#silentTicks)
    for (const [id, pending] of this.#pending) if (pending.ticks-- <= 0) this.#settle(id, UNREACHABLE)
  }

  #settle(id: number, answer: Answer): void {
    this.#pending.get(id)?.resolve(answer)
    this.#pending.delete(id)
  }
}

/** Each step waits for less than the one before it, which so hears that the way is broken, and takes nobody on it for silent. */
function ticksFor(hops: number): number {
  return Math.max(SILENT_TICKS + 1, DEADLINE_TICKS - (MAX_HOPS - 1 - hops))
}

/** One stream with each connected peer, for what is routed. */
export class RoutingStreams {
  readonly #options: RoutingStreamsOptions
  readonly #conversations: Conversations<Line>
  readonly #lines = new Map<PeerId, Set<Line>>()
  readonly #timer: NodeJS.Timeout
  readonly #stopped = new AbortController()
  /** By whoever asks, and by whoever something is passed on to. */
  readonly #heardLoad = new Load()
  readonly #passedLoad = new Load()

  constructor(options: RoutingStreamsOptions) {
    this.#options = options
    const { openStream } = options
    this.#conversations = new Conversations({
      openStream: (peer, signal) => openStream(peer, AbortSignal.any([signal, this.#stopped.signal])),
      openTimeout: OPEN_TIMEOUT_MS,
      start: (peer: PeerId, stream: Stream) => this.#line(peer, stream),
    })
    this.#timer = setInterval(() => this.#tick(), TICK_MS).unref()
  }

  /** What waits for an answer has none. */
  stop(): void {
    this.#stopped.abort()
    clearInterval(this.#timer)
    for (const lines of this.#lines.values()) for (const line of lines) line.end()
  }

  /** To be called when a peer is gone. */
  forget(peer: PeerId): void {
    this.#lines.delete(peer)
    this.#conversations.forget(peer)
  }

  isSilent(peer: PeerId): boolean {
    const lines = this.#lines.get(peer)
    return lines !== undefined && [...lines].some((line) => line.isSilent)
  }

  /** Asks a connected peer; undefined where nothing could be sent to it. Never rejects. */
  async ask(peer: PeerId, ask: Ask, hops: number): Promise<Answer | undefined> {
    const line = await this.#conversations.with(peer).catch(() => undefined)
    return this.#stopped.signal.aborted ? UNREACHABLE : await line?.ask(ask, hops)
  }

  /** The same for somebody else: no more than the peer takes of this node. */
  async pass(peer: PeerId, ask: Ask, hops: number): Promise<Answer | undefined> {
    return this.#passedLoad.take(peer, passCost(ask)) ? await this.ask(peer, ask, hops) : BUSY
  }

  /** Tells a peer something that it does not answer. Rejects where it can't be told. */
  async tell(peer: PeerId, message: Extract<Message, { full: true } | { large: boolean }>): Promise<void> {
    const line = await this.#conversations.with(peer)
    line.conversation.send(message)
  }

  /** Takes streams that peers open. */
  readonly handler: StreamHandler = (stream: Stream, connection: Connection) => {
    const peer = connection.remotePeer.toString()
    this.#conversations.adopt(peer, this.#line(peer, stream))
  }

  #line(peer: PeerId, stream: Stream): Line {
    const line = new Line(stream, (from, message) => this.#heard(peer, from, message))
    const lines = this.#lines.get(peer) ?? new Set()
    this.#lines.set(peer, lines.add(line))
    return line
  }

  #heard(peer: PeerId, line: Line, message: Message): void {
    if ('full' in message) this.#options.onFull(peer)
    else if ('large' in message) this.#options.onLarge(peer, message.large)
    else if ('ask' in message) this.#asked(peer, line, message)
  }

  #asked(peer: PeerId, line: Line, { id, ask, hops }: Extract<Message, { ask: Ask }>): void {
    if (line.underWay >= MAX_UNDER_WAY || !this.#heardLoad.take(peer, passCost(ask))) {
      // One that does not read what it asked for is not written to without end.
      if (!line.conversation.isClogged) line.conversation.send({ id, answer: BUSY })
      return
    }
    line.underWay++
    this.#options.onAsk(peer, ask, hops).then(
      (answer) => {
        line.underWay--
        line.conversation.send({ id, answer })
      },
      () => {
        line.underWay--
        line.conversation.send({ id, answer: UNREACHABLE })
      },
    )
  }

  #tick(): void {
    for (const [peer, lines] of this.#lines) {
      for (const line of lines) {
        line.tick()
        if (!line.isOpen) lines.delete(line)
      }
      if (lines.size === 0) this.#lines.delete(peer)
    }
  }
}
