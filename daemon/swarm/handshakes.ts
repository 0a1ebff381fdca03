import type { Socket } from 'node:net'
import type {
  ComponentLogger,
  ConnectionEncrypter,
  ConnectionProtector,
  MessageStream,
  MultiaddrConnection,
  StreamMessageEvent,
} from '@libp2p/interface'
import type { Multiaddr } from '@multiformats/multiaddr'
import type { Logger } from 'pino'
import { placeOf } from './discovery/addresses.ts'
import type { PeerId } from './peer-id.ts'

interface HandshakesOptions {
  readonly self: PeerId
  readonly hasKey: boolean
  /** Told of a connection at whose other end is this node, or another one with its key. */
  readonly onSelf: (met: SelfMet) => void
  readonly log: Logger
}

/** A connection between two ends that have this node's key. */
export interface SelfMet {
  readonly direction: 'inbound' | 'outbound'
  readonly address: Multiaddr
  /** TCP ports of both ends; undefined where the system does not say any more. */
  readonly localPort: number | undefined
  readonly remotePort: number | undefined
}

interface Handshake {
  readonly direction: 'inbound' | 'outbound'
  readonly address: Multiaddr
  readonly socket: Socket | undefined
  /** What the peer sent made sense, so the swarm keys are the same. */
  isUnderstood: boolean
}

/** Bytes that a peer with a swarm key sends first, whoever it speaks with: a nonce (libp2p pnet). */
const NONCE_BYTES = 24

/** Log what is probably wrong with an address after this many failures in a row: one may be a dial that was given up. */
const LOGGED_FAILURES = 2

/** Failures that are further apart than this, in ms, are not in a row: the peer may have been another one. */
const ROW_MS = 600_000

/** Addresses of which failures are remembered; the oldest is forgotten first. */
const MAX_ADDRESSES = 1_024

/**
 * Watches connections from their first byte until they are encrypted. libp2p says of those that fail before that no more than that
 * they were reset, or took too long: with swarm keys that differ, either end reads noise.
 */
export class Handshakes {
  readonly #options: HandshakesOptions
  readonly #handshakes = new WeakMap<object, Handshake>()
  /** By address, without the port where the peer has dialled. */
  readonly #failures = new Map<string, { readonly count: number; readonly text: string; readonly at: number }>()
  #isStopped = false

  constructor(options: HandshakesOptions) {
    this.#options = options
  }

  /** Stops reporting: what ends now ends because this node does. */
  stop(): void {
    this.#isStopped = true
  }

  /**
   * What is probably wrong with an address that was dialled in vain; undefined where that is not known.
   * @param since when it was dialled (performance.now()): what failed before may have been mended
   */
  problemAt(address: Multiaddr, since: number): string | undefined {
    const failure = this.#failures.get(placeOf(address))
    return failure !== undefined && failure.at >= since ? failure.text : undefined
  }

  /** A connection protector for libp2p. @param inner the one that needs the swarm key, where there is one */
  protector(
    inner: ((components: { logger: ComponentLogger }) => ConnectionProtector) | undefined,
  ): (components: { logger: ComponentLogger }) => ConnectionProtector {
    return (components) => {
      const key = inner?.(components)
      return {
        protect: async (connection, options) => {
          const handshake = this.#begin(connection as MultiaddrConnection)
          const stream = key === undefined ? connection : await key.protect(connection, options)
          this.#handshakes.set(stream, handshake)
          onFirstBytes(stream, (bytes) => {
            if (beginsHandshake(bytes)) this.#understood(handshake)
          })
          return stream
        },
      }
    }
  }

  /** An encrypter that says here that it was reached, and who is at the other end. */
  encrypter<Components>(
    inner: (components: Components) => ConnectionEncrypter,
  ): (components: Components) => ConnectionEncrypter {
    return (components) => {
      const encrypter = inner(components)
      const watched = async <T extends { readonly remotePeer: { toString(): string } }>(
        connection: MessageStream,
        secured: Promise<T>,
      ): Promise<T> => {
        const handshake = this.#handshakes.get(connection)
        if (handshake !== undefined) this.#understood(handshake)
        const result = await secured
        if (handshake !== undefined && result.remotePeer.toString() === this.#options.self) this.#self(handshake)
        return result
      }
      return {
        protocol: encrypter.protocol,
        secureInbound: (connection, options) => watched(connection, encrypter.secureInbound(connection, options)),
        secureOutbound: (connection, options) => watched(connection, encrypter.secureOutbound(connection, options)),
      }
    }
  }

  #begin(connection: MultiaddrConnection): Handshake {
    const { direction, remoteAddr: address } = connection
    // Its types do not have the socket. Without one, nothing is reported.
    const { socket } = connection as { socket?: Socket }
    const handshake: Handshake = { direction, address, socket, isUnderstood: false }
    this.#handshakes.set(connection, handshake)
    connection.addEventListener('close', () => this.#ended(handshake), { once: true })
    return handshake
  }

  #understood(handshake: Handshake): void {
    handshake.isUnderstood = true
    this.#failures.delete(whereOf(handshake))
  }

  #self({ direction, address, socket }: Handshake): void {
    this.#options.onSelf({ direction, address, localPort: socket?.localPort, remotePort: socket?.remotePort })
  }

  #ended(handshake: Handshake): void {
    const { isUnderstood, socket } = handshake
    if (isUnderstood || socket === undefined || this.#isStopped) return
    const text = this.#explain(handshake, socket.bytesRead)
    if (text === undefined) return
    const where = whereOf(handshake)
    const before = this.#failures.get(where)
    const at = performance.now()
    const count = before !== undefined && at - before.at <= ROW_MS ? before.count + 1 : 1
    this.#failures.delete(where)
    this.#failures.set(where, { count, text, at })
    const [oldest] = this.#failures.keys()
    if (this.#failures.size > MAX_ADDRESSES && oldest !== undefined) this.#failures.delete(oldest)
    if (count === LOGGED_FAILURES) this.#options.log.warn({ address: where, direction: handshake.direction }, text)
  }

  /** @param received bytes from the peer */
  #explain(handshake: Handshake, received: number): string | undefined {
    const { hasKey } = this.#options
    const isInbound = handshake.direction === 'inbound'
    const where = whereOf(handshake)
    // Health checks and port scanners connect and say nothing. With a key, whoever gives up early has sent a nonce.
    const isJustGone = isInbound && received <= (hasKey ? NONCE_BYTES : 0)
    if (isJustGone || (received === 0 && !hasKey)) return undefined
    if (received === 0)
      return `the peer at ${where} takes connections and says nothing: most likely it has no swarm key, and this node has one (swarm.swarmKey), or it hangs`
    return `the peer at ${where} and this node don't understand each other: most likely their swarm keys differ, or one of them has none (swarm.swarmKey)`
  }
}

/** What both ends of a libp2p connection say first, where they understand each other (multistream-select 1.0). */
const HANDSHAKE_START = Buffer.from('\x13/multistream/1.0.0\n')

/** Bytes of it that are no chance. */
const LEAST_BYTES = 4

function beginsHandshake(bytes: Uint8Array): boolean {
  const start = bytes.subarray(0, HANDSHAKE_START.length)
  return start.length >= LEAST_BYTES && HANDSHAKE_START.subarray(0, start.length).equals(start)
}

/** Looks at the first bytes of a stream, and leaves them to whoever reads it: a listener would take them. */
function onFirstBytes(stream: MessageStream, look: (bytes: Uint8Array) => void): void {
  const dispatch = stream.dispatchEvent
  stream.dispatchEvent = (event) => {
    if (event.type === 'message') {
      stream.dispatchEvent = dispatch
      look((event as StreamMessageEvent).data.subarray())
    }
    return dispatch.call(stream, event)
  }
}

/** The address that was dialled, or the host that a connection comes from: its port is another one each time. */
function whereOf({ direction, address }: Handshake): string {
  const place = placeOf(address)
  return direction === 'outbound' ? place : place.replace(/\/tcp\/\d+$/, '')
}
