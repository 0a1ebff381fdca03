import type { Stream } from '@libp2p/interface'
import { decode, encode } from 'cborg'
import type { PeerId } from './ports.ts'

const lengthBytes = 4

/** A message as it goes over a stream: its length in 4 bytes, big-endian, and the message in CBOR (RFC 8949). */
export function frame(message: object): Uint8Array {
  const body = encode(message)
  const bytes = Buffer.allocUnsafe(lengthBytes + body.length)
  bytes.writeUInt32BE(body.length)
  bytes.set(body, lengthBytes)
  return bytes
}

/** Cuts a stream's bytes into messages; holds no more than twice the one that is not whole yet. */
export class Frames {
  readonly #maxBytes: number
  /** What has come and was not given yet is from start to end. */
  #buffer = Buffer.alloc(0)
  #start = 0
  #end = 0

  /** @param maxBytes longest message */
  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes
  }

  /** Adds bytes, and gives the messages that are whole. @throws {Error} where one is too long or no CBOR */
  *push(bytes: Uint8Array): Generator<unknown, void> {
    this.#append(bytes)
    for (let next = this.#take(); next !== undefined; next = this.#take()) yield decode(next)
  }

  /** Room grows to twice as much, so that a message in many small pieces is copied once or twice, not for each of them. */
  #append(bytes: Uint8Array): void {
    const length = this.#end - this.#start
    if (this.#end + bytes.length > this.#buffer.length) {
      const larger = Buffer.allocUnsafe(Math.max(2 * length, length + bytes.length))
      this.#buffer.copy(larger, 0, this.#start, this.#end)
      this.#buffer = larger
      this.#start = 0
      this.#end = length
    }
    this.#buffer.set(bytes, this.#end)
    this.#end += bytes.length
  }

  #take(): Uint8Array | undefined {
    const from = this.#start + lengthBytes
    if (from > this.#end) return undefined
    const length = this.#buffer.readUInt32BE(this.#start)
    if (length > this.#maxBytes) {
      throw new Error(`a message of ${length} bytes; at most ${this.#maxBytes} are allowed`)
    }
    if (from + length > this.#end) return undefined
    const message = this.#buffer.subarray(from, from + length)
    this.#start = from + length
    // Streams stay open for long, and most of the time nothing is under way.
    if (this.#start === this.#end) {
      this.#buffer = Buffer.alloc(0)
      this.#start = 0
      this.#end = 0
    }
    return message
  }
}

interface ConversationOptions<In> {
  readonly stream: Stream
  /** Longest message of the other side in bytes. */
  readonly maxBytes: number
  /** Checks a message. @throws where it is none of the protocol */
  readonly parse: (value: unknown) => In
  readonly onMessage: (message: In) => void
  /** Called once, at the end of the stream. */
  readonly onClose: (error: Error) => void
}

/** Messages to and from one peer on a stream that stays open. A peer that breaks the protocol is cut off. */
export class Conversation<In, Out extends object> {
  readonly #stream: Stream
  #isClogged = false
  /** Each once, however often it asks to be told: a peer that does not read must not make this grow. */
  readonly #onDrained = new Set<() => void>()

  constructor({ stream, maxBytes, parse, onMessage, onClose }: ConversationOptions<In>) {
    this.#stream = stream
    const frames = new Frames(maxBytes)
    stream.addEventListener('message', ({ data }) => {
      try {
        for (const value of frames.push(data.subarray())) onMessage(parse(value))
      } catch (error) {
        stream.abort(error as Error)
      }
    })
    // The stream first goes on with what waits, in a microtask of its own, and may be full again after that.
    stream.addEventListener('drain', () => queueMicrotask(() => this.#drain()))
    stream.addEventListener('close', (event) => {
      this.#onDrained.clear()
      onClose((event as { error?: Error }).error ?? new Error('the stream was closed'))
    })
    stream.addEventListener('remoteCloseWrite', () => void stream.close().catch(() => {}))
  }

  get isOpen(): boolean {
    return this.#stream.status === 'open'
  }

  /** Whether the peer takes less than is sent: what can wait should wait for {@link whenDrained}. */
  get isClogged(): boolean {
    return this.#isClogged && this.isOpen
  }

  /** Calls back once, when the peer has taken what was sent; never where the stream ends before. */
  whenDrained(callback: () => void): void {
    this.#onDrained.add(callback)
  }

  /** Sends a message; one for a stream that is closed is lost, as `onClose` says. */
  send(message: Out): void {
    this.sendFramed(frame(message))
  }

  /** The same for what {@link frame} made of it. */
  sendFramed(bytes: Uint8Array): void {
    // The status lags behind what the other side does; a stream that can't be written to is about to close.
    if (!this.isOpen || this.#stream.writeStatus !== 'writable') return
    if (!this.#stream.send(bytes)) this.#isClogged = true
  }

  #drain(): void {
    if (this.#stream.writableNeedsDrain) return
    this.#isClogged = false
    const callbacks = [...this.#onDrained]
    this.#onDrained.clear()
    for (const callback of callbacks) callback()
  }

  abort(error: Error): void {
    this.#stream.abort(error)
  }
}

interface ConversationsOptions<C> {
  readonly openStream: (peer: PeerId, signal: AbortSignal) => Promise<Stream>
  /** Longest time until a stream stands, in ms. */
  readonly openTimeout: number
  readonly start: (peer: PeerId, stream: Stream) => C
}

/** One conversation with each peer, opened when it is first needed. */
export class Conversations<C extends { readonly isOpen: boolean }> {
  readonly #options: ConversationsOptions<C>
  readonly #open = new Map<PeerId, Promise<C>>()

  constructor(options: ConversationsOptions<C>) {
    this.#options = options
  }

  /** To be called when a peer is gone. */
  forget(peer: PeerId): void {
    this.#open.delete(peer)
  }

  /** Takes one that the peer has opened, where there is none. */
  adopt(peer: PeerId, conversation: C): void {
    if (!this.#open.has(peer)) this.#open.set(peer, Promise.resolve(conversation))
  }

  /** The conversation with a peer. Rejects where there is no connection to it, or it does not speak the protocol. */
  async with(peer: PeerId): Promise<C> {
    const current = this.#open.get(peer)
    if (current !== undefined) {
      const conversation = await current.catch(() => undefined)
      if (conversation?.isOpen) return conversation
      // Another caller may have opened a new one meanwhile.
      if (this.#open.get(peer) !== current) return await this.with(peer)
    }
    const { openStream, openTimeout, start } = this.#options
    const opening = openStream(peer, AbortSignal.timeout(openTimeout)).then((stream) => start(peer, stream))
    this.#open.set(peer, opening)
    opening.catch(() => {
      if (this.#open.get(peer) === opening) this.#open.delete(peer)
    })
    return await opening
  }
}
