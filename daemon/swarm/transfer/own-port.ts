import type { Stream, StreamHandler } from '@libp2p/interface'
import type { Logger } from 'pino'
import { HELLO_TIMEOUT_MS, MAX_FINDING_BYTES } from '../hello/constants.ts'
import { decodeFinding, encodeFinding, type Finding } from '../hello/finding.ts'
import { readLine } from '../hello/line.ts'
import type { KnownPeers } from '../known-peers.ts'
import { Allowance } from '../limits/allowance.ts'
import { originOf } from '../limits/network.ts'
import type { PeerId } from '../peer-id.ts'
import type { Reach } from './reach.ts'

/** Lines that the log gets at once when what peers say changes to and fro. */
const LINES = 4

/** And one more in this many ms. */
const LINE_MS = 600_000

interface OwnPortOptions {
  /** Peers that know this node's transfer server. */
  readonly known: Pick<KnownPeers, 'list'>
  /** What was found out of theirs. */
  readonly reach: Pick<Reach, 'isOpen' | 'findingOf'>
  readonly openStream: (peer: PeerId, signal: AbortSignal) => Promise<Stream>
  /** Told whether peers pass this node over, and others are there in its place. */
  readonly onPassedOver: (isPassedOver: boolean) => void
  readonly log: Logger
}

/**
 * Whether this node's own transfer port is closed. It can't find that out by itself, so peers tell it what they have found. It
 * counts as closed where most of them say so: one peer may be behind a firewall of its own, or lie. Peers of one network have one vote
 * together, as anybody can have many PeerIds.
 */
export class OwnPort {
  readonly #options: OwnPortOptions
  /** Of peers that can't reach it. */
  readonly #closed = new Map<PeerId, Finding>()
  readonly #lines = new Allowance(LINES, 1000 / LINE_MS)
  #isLogged = false
  #isPassedOver = false

  constructor(options: OwnPortOptions) {
    this.#options = options
  }

  /** That peers can't reach the port, and what to do; undefined where most can. */
  get problem(): string | undefined {
    const peers = this.#peers
    const [finding, ...others] = peers.map((peer) => this.#closed.get(peer)).filter((one) => one !== undefined)
    const count = others.length + 1
    if (finding === undefined || this.#votes <= 0.5) return undefined
    const port = finding.address.slice(finding.address.lastIndexOf(':') + 1)
    return `${count} of ${peers.length} peers can't reach this node's transfer port at ${finding.address} (${finding.reason ?? 'unknown'}), and fetch nothing from it: open TCP port ${port} in its firewall (swarm.transferListen), or, behind a port map, name the address that is reached (swarm.transferAnnounce)`
  }

  /** A peer has come. */
  met(peer: PeerId): void {
    // It may have been found closed before it was started anew.
    if (this.#options.reach.isOpen(peer)) this.#look()
    else this.changed(peer)
  }

  /** The port of a peer was found closed, or open again: it is told, once. One of an earlier version does not listen. */
  changed(peer: PeerId): void {
    this.#tell(peer).catch((err) => this.#options.log.debug({ peer, err }, 'a peer was not told of its transfer port'))
    this.#look()
  }

  get #peers(): readonly PeerId[] {
    return this.#options.known.list().map(({ peerId }) => peerId)
  }

  /** Part of all votes that says that the port is closed, 0 to 1. */
  get #votes(): number {
    const networks = new Map<string, { peers: number; closed: number }>()
    for (const { peerId, host, source } of this.#options.known.list()) {
      const [network] = originOf(source?.host ?? host)
      const { peers, closed } = networks.get(network) ?? { peers: 0, closed: 0 }
      networks.set(network, { peers: peers + 1, closed: closed + (this.#closed.has(peerId) ? 1 : 0) })
    }
    let sum = 0
    for (const { peers, closed } of networks.values()) sum += closed / peers
    return sum / Math.max(1, networks.size)
  }

  #look(): void {
    const { reach, onPassedOver, log } = this.#options
    const { problem } = this
    const isClosed = problem !== undefined
    if (isClosed !== this.#isLogged && this.#lines.left >= 1) {
      this.#lines.spend(1)
      this.#isLogged = isClosed
      if (isClosed) log.warn(problem)
      else log.info('most peers can reach the transfer port of this node now')
    }
    // Where nobody can do it in its place, this node goes on.
    const isPassedOver = problem !== undefined && this.#peers.some((peer) => reach.isOpen(peer))
    if (isPassedOver === this.#isPassedOver) return
    this.#isPassedOver = isPassedOver
    onPassedOver(isPassedOver)
  }

  /** A peer is not connected any more. */
  left(peer: PeerId): void {
    this.#closed.delete(peer)
    this.#look()
  }

  /** Takes what peers tell. */
  readonly handler: StreamHandler = async (stream, connection) => {
    const peer = connection.remotePeer.toString()
    try {
      const line = await readLine(stream, MAX_FINDING_BYTES, AbortSignal.timeout(HELLO_TIMEOUT_MS))
      const finding = decodeFinding(line)
      await stream.close({ signal: AbortSignal.timeout(HELLO_TIMEOUT_MS) })
      // Of those that have gone nothing is kept, and it counts when a peer has said hello: both may come in either order.
      if (finding.isOpen || connection.status !== 'open') this.#closed.delete(peer)
      else this.#closed.set(peer, finding)
      this.#look()
    } catch (error) {
      this.#options.log.debug({ peer, err: error }, 'a peer tells something that is not understood')
      stream.abort(error as Error)
    }
  }

  async #tell(peer: PeerId): Promise<void> {
    const { reach, openStream } = this.#options
    const finding = reach.findingOf(peer)
    if (finding === undefined) return
    const signal = AbortSignal.timeout(HELLO_TIMEOUT_MS)
    const stream = await openStream(peer, signal)
    try {
      stream.send(encodeFinding(finding))
      await stream.close({ signal })
    } catch (error) {
      stream.abort(error as Error)
      throw error
    }
  }
}
