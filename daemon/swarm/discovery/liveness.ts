import { randomBytes } from 'node:crypto'
import { setMaxListeners } from 'node:events'
import type { Socket } from 'node:net'
import type { Connection } from '@libp2p/interface'
import type { Logger } from 'pino'
import type { Heard } from '../heard.ts'
import type { PeerId } from '../ports.ts'
import { afterReads } from '../turns.ts'
import { ANSWER_MS, ROUND_MS } from './constants.ts'

interface LivenessOptions {
  readonly connections: () => readonly Connection[]
  /** What came from peers by other ways. */
  readonly heard: Pick<Heard, 'since'>
  /** The last connection with a peer was ended because nothing came over it any more. */
  readonly onDead: (peer: PeerId) => void
  readonly log: Logger
}

/** Bytes that went over a connection. */
interface Traffic {
  readonly received: number
  /** What had been sent when something came last, or the node looked for the first time. */
  readonly sent: number
  isWaiting: boolean
}

/** libp2p answers it with what it was sent. */
const PING_PROTOCOL = '/ipfs/ping/1.0.0'

/** Of a ping. */
const PING_BYTES = 32

/**
 * Ends connections that are dead. TCP finds that out after minutes, while everything waits that is said over them. A peer is asked for
 * a sign of life only where there is reason to: something was sent and nothing came, the machine's addresses have changed, or the peer
 * has connected anew. A ping costs writes to the peer store at both ends: one for all connections every few seconds is too much.
 */
export class Liveness {
  readonly #options: LivenessOptions
  readonly #traffic = new WeakMap<Connection, Traffic>()
  readonly #asked = new WeakSet<Connection>()
  #timer: NodeJS.Timeout | undefined

  constructor(options: LivenessOptions) {
    this.#options = options
  }

  start(): void {
    this.#timer = setInterval(() => this.#round(), ROUND_MS).unref()
  }

  stop(): void {
    clearInterval(this.#timer)
  }

  /** Asks the peers of these connections for a sign of life, and ends those over which none comes. Never throws. */
  check(connections: readonly Connection[]): void {
    for (const connection of connections) {
      if (this.#asked.has(connection) || connection.status !== 'open') continue
      this.#asked.add(connection)
      this.#ask(connection)
        .catch((err) => this.#options.log.warn({ err }, 'a connection that is dead could not be ended'))
        .finally(() => this.#asked.delete(connection))
    }
  }

  #round(): void {
    const quiet: Connection[] = []
    for (const connection of this.#options.connections()) {
      const socket = socketOf(connection)
      if (socket === undefined) continue
      const { bytesRead: received, bytesWritten } = socket
      const before = this.#traffic.get(connection)
      if (before === undefined || before.received !== received) {
        this.#traffic.set(connection, { received, sent: bytesWritten, isWaiting: false })
      } else if (bytesWritten > before.sent) {
        // What was sent a moment ago has a round to be answered.
        if (before.isWaiting) quiet.push(connection)
        before.isWaiting = true
      }
    }
    this.check(quiet)
  }

  async #ask(connection: Connection): Promise<void> {
    const askedAt = performance.now()
    if (await isAlive(connection)) return
    const peer = connection.remotePeer.toString()
    const { connections, heard, onDead, log } = this.#options
    const isHeard = heard.since(peer, askedAt)
    const hasOther = connections().some(
      (other) => other !== connection && other.status === 'open' && other.remotePeer.equals(connection.remotePeer),
    )
    // A peer whose bytes move is there, and busy. It is asked again soon.
    if (isHeard && !hasOther) return
    log.info(
      { peer, address: connection.remoteAddr.toString() },
      'a peer does not answer over a connection, which is ended',
    )
    connection.abort(new Error(`no answer within ${ANSWER_MS} ms`))
    if (!isHeard) onDead(peer)
  }
}

/** Whether anything comes back within the deadline. A refusal is a sign of life, too. */
async function isAlive(connection: Connection): Promise<boolean> {
  const received = socketOf(connection)?.bytesRead
  const signal = AbortSignal.timeout(ANSWER_MS)
  setMaxListeners(0, signal)
  try {
    const stream = await connection.newStream(PING_PROTOCOL, { signal })
    const { promise, resolve } = Promise.withResolvers<void>()
    stream.addEventListener('message', () => resolve(), { once: true })
    stream.addEventListener('close', () => resolve(), { once: true })
    signal.addEventListener('abort', () => resolve(), { once: true })
    stream.send(randomBytes(PING_BYTES))
    await promise
    stream
      .close({ signal: AbortSignal.timeout(ANSWER_MS) })
      .catch(() => stream.abort(new Error('the peer did not close it')))
  } catch {
    // It may have been refused, or the time is over.
  }
  if (signal.aborted) await afterReads()
  return !signal.aborted || received === undefined || socketOf(connection)?.bytesRead !== received
}

/** The connection's types do not have it; the counters are the kernel's nearest witness. */
function socketOf(connection: Connection): Socket | undefined {
  return (connection as { maConn?: { socket?: Socket } }).maConn?.socket
}
