import { setTimeout as delay } from 'node:timers/promises'
import type { Connection } from '@libp2p/interface'
import type { Logger } from 'pino'
import type { KnownPeers } from '../known-peers.ts'
import type { Places } from '../transfer/places.ts'
import { HELLO_ATTEMPTS, HELLO_PROTOCOL, HELLO_RETRY_MS, HELLO_TIMEOUT_MS } from './constants.ts'
import { encodeHello, type Hello, readHello, toKnownPeer } from './message.ts'
import type { Versions } from './versions.ts'

/** Introduces this node on a connection that it opened. Failures are logged; such a peer is used for the DHT only. */
export async function sayHello(
  connection: Connection,
  own: Hello,
  known: KnownPeers,
  places: Places,
  versions: Versions,
  log: Logger,
  signal: AbortSignal,
): Promise<void> {
  for (let attempt = 1; connection.status === 'open' && !signal.aborted; attempt++) {
    try {
      return await exchange(connection, own, known, places, versions, signal)
    } catch (error) {
      log.debug({ peer: connection.remotePeer.toString(), attempt, err: error }, 'the hello failed')
      if (attempt === HELLO_ATTEMPTS) return
    }
    await delay(HELLO_RETRY_MS, undefined, { signal }).catch(() => {})
  }
}

async function exchange(
  connection: Connection,
  own: Hello,
  known: KnownPeers,
  places: Places,
  versions: Versions,
  signal: AbortSignal,
): Promise<void> {
  const deadline = AbortSignal.any([signal, AbortSignal.timeout(HELLO_TIMEOUT_MS)])
  const stream = await connection.newStream(HELLO_PROTOCOL, { signal: deadline })
  try {
    stream.send(encodeHello(own))
    const hello = await readHello(stream, deadline)
    const peer = toKnownPeer(connection, hello)
    const isKnown = versions.match(peer.peerId, hello.version)
    if (isKnown) known.add(peer)
    await stream.close({ signal: deadline })
    if (!isKnown) return
    const placed = known.move(peer, await places.find(peer, deadline))
    if (placed !== undefined) known.ready(placed)
  } catch (error) {
    stream.abort(error as Error)
    throw error
  }
}
