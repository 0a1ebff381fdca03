import type { Connection, Stream, StreamHandler } from '@libp2p/interface'
import type { Logger } from 'pino'
import type { KnownPeers } from '../known-peers.ts'
import type { Places } from '../transfer/places.ts'
import { HELLO_TIMEOUT_MS } from './constants.ts'
import { encodeHello, type Hello, readHello, toKnownPeer } from './message.ts'
import type { Versions } from './versions.ts'

/** Answers a hello with our own. The peer closes its side once it has ours; only then are requests sent to it. */
export function helloServer(
  own: Hello,
  known: KnownPeers,
  places: Places,
  versions: Versions,
  log: Logger,
): StreamHandler {
  return async (stream, connection) => {
    try {
      await answer(stream, connection, own, known, places, versions)
    } catch (error) {
      log.debug({ peer: connection.remotePeer.toString(), err: error }, 'a peer did not introduce itself')
      stream.abort(error as Error)
    }
  }
}

async function answer(
  stream: Stream,
  connection: Connection,
  own: Hello,
  known: KnownPeers,
  places: Places,
  versions: Versions,
): Promise<void> {
  const signal = AbortSignal.timeout(HELLO_TIMEOUT_MS)
  const hello = await readHello(stream, signal)
  const peer = toKnownPeer(connection, hello)
  const isKnown = versions.match(peer.peerId, hello.version)
  if (isKnown) known.add(peer)
  // One of another version is answered as well: its log says then what to do.
  stream.send(encodeHello(own))
  await remoteClosed(stream, signal)
  // Before places are tried: how long that takes is not the peer's to know.
  await stream.close({ signal })
  if (!isKnown) return
  const placed = known.move(peer, await places.find(peer, signal))
  if (placed !== undefined) known.ready(placed)
}

async function remoteClosed(stream: Stream, signal: AbortSignal): Promise<void> {
  if (stream.remoteWriteStatus !== 'writable') return
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  const onClose = () => reject(new Error('the stream was reset before the peer had our hello'))
  const onEnd = () => resolve()
  const onAbort = () => reject(signal.reason)
  stream.addEventListener('remoteCloseWrite', onEnd)
  stream.addEventListener('close', onClose)
  signal.addEventListener('abort', onAbort)
  try {
    await promise
  } finally {
    stream.removeEventListener('remoteCloseWrite', onEnd)
    stream.removeEventListener('close', onClose)
    signal.removeEventListener('abort', onAbort)
  }
}
