import type {
  Connection,
  ConnectionEncrypter,
  MessageStream,
  Stream,
  StreamHandler,
  StreamMuxer,
  StreamMuxerFactory,
} from '@libp2p/interface'
import { Brake } from './brake.ts'
import { KILOBYTE_COST, NEW_STREAM_COST, PIECE_COST, streamCost } from './costs.ts'
import type { PeerLimits } from './peer-limits.ts'

const kilobyte = 1024

/** As libp2p gives it to services. */
interface Registrar {
  handle(protocol: string, handler: StreamHandler, options?: object): Promise<void>
}

/** What libp2p's own classes have, and its interfaces don't name. */
interface Receiving {
  onData(data: { readonly byteLength: number }): void
}

interface Accepting {
  onRemoteStream(stream: Stream): void
}

/** Has something done before each call of a method. Events can't be listened to: what comes early waits for the first listener. */
function before<Argument>(method: (argument: Argument) => void, object: object, action: (argument: Argument) => void) {
  return (argument: Argument) => {
    action(argument)
    method.call(object, argument)
  }
}

/**
 * Charges peers for what they do by libp2p, at each of its layers: bytes of a connection, new streams, and bytes of each protocol. Where
 * a peer has nothing left, its connection is not read for a time.
 */
export class StreamLimits {
  readonly #limits: PeerLimits
  /** Encrypted connections, and who is at their other end. */
  readonly #peers = new WeakMap<object, string>()

  constructor(limits: PeerLimits) {
    this.#limits = limits
  }

  /** An encrypter whose connections are charged for. */
  encrypter<Components>(
    inner: (components: Components) => ConnectionEncrypter,
  ): (components: Components) => ConnectionEncrypter {
    return (components) => {
      const encrypter = inner(components)
      const watched = async <T extends { readonly connection: MessageStream; readonly remotePeer: object }>(
        secured: Promise<T>,
      ): Promise<T> => {
        const result = await secured
        this.#peers.set(result.connection, result.remotePeer.toString())
        return result
      }
      return {
        protocol: encrypter.protocol,
        secureInbound: (connection, options) => watched(encrypter.secureInbound(connection, options)),
        secureOutbound: (connection, options) => watched(encrypter.secureOutbound(connection, options)),
      }
    }
  }

  /** A muxer whose new streams are charged for. */
  muxer<Components>(
    inner: (components: Components) => StreamMuxerFactory,
  ): (components: Components) => StreamMuxerFactory {
    return (components) => {
      const factory = inner(components)
      return {
        protocol: factory.protocol,
        createStreamMuxer: (connection) => {
          const muxer = factory.createStreamMuxer(connection) as StreamMuxer & Receiving & Accepting
          const peer = this.#peers.get(connection)
          if (peer === undefined) return muxer
          const brake = new Brake(this.#limits, peer, {
            pause: () => connection.pause(),
            resume: () => connection.resume(),
            isOpen: () => connection.status === 'open',
          })
          const { onData } = muxer
          muxer.onData = (data) => {
            this.#limits.spend(peer, PIECE_COST + (data.byteLength / kilobyte) * KILOBYTE_COST, 'bytes')
            onData.call(muxer, data)
            brake.check()
          }
          muxer.onRemoteStream = before(muxer.onRemoteStream, muxer, () => {
            this.#limits.spend(peer, NEW_STREAM_COST, 'streams')
          })
          return muxer
        },
      }
    }
  }

  /** As a libp2p service: charges for the streams of each protocol that is handled from now on, those of other services too. */
  service({ registrar }: { readonly registrar: Registrar }): object {
    const { handle } = registrar
    registrar.handle = (protocol, handler, options) => handle.call(registrar, protocol, this.#limited(handler), options)
    return {}
  }

  /** Charges for what comes over a stream. Not for those on which nothing but answers comes: whoever asks is to pay for them. */
  watched(stream: Stream, peer: string): Stream {
    const { protocol } = stream
    const { kilobyte: cost } = streamCost(protocol)
    const receiving = stream as Stream & Receiving
    receiving.onData = before(receiving.onData, stream, ({ byteLength }) => {
      this.#limits.spend(peer, (byteLength / kilobyte) * cost, `messages by ${protocol}`)
    })
    return stream
  }

  #limited(handler: StreamHandler): StreamHandler {
    return async (stream: Stream, connection: Connection) => {
      const peer = connection.remotePeer.toString()
      const { protocol } = stream
      this.#limits.spend(peer, streamCost(protocol).stream, `messages by ${protocol}`)
      // It may just have been banned for that.
      if (this.watched(stream, peer).status === 'open') await handler(stream, connection)
    }
  }
}
