import { connect } from 'node:net'
import type { SecureContext } from 'node:tls'
import type { Logger } from 'pino'
import { formatAddress } from '../../../config/units.ts'
import type { Finding } from '../hello/finding.ts'
import type { KnownPeer } from '../known-peers.ts'
import type { PeerId } from '../peer-id.ts'
import type { Place } from './places.ts'
import { ConnectTimeoutError, connectDeadline, connectPinned, OtherServerError } from './pool.ts'

interface ReachOptions {
  readonly context: SecureContext
  /** Until a connection to a peer stands, TLS included, in ms. */
  readonly connectMs: number
  /** Told when the transfer port of a connected peer is found closed, or open again. */
  readonly onChange: (peer: PeerId, isOpen: boolean) => void
  /** Where a peer is reached, of all places that it has told. */
  readonly find: (peer: KnownPeer, signal: AbortSignal) => Promise<Place>
  /** Takes note of it. @returns what is known of the peer then; undefined where it has gone */
  readonly onMoved: (peer: KnownPeer, place: Place) => KnownPeer | undefined
  readonly log: Logger
}

interface Entry {
  peer: KnownPeer
  /** Attempts that failed in a row; 0 while the port counts as open. */
  failures: number
  /** Why the last one failed. */
  reason: Error | undefined
  isLogged: boolean
  /** Ends the attempt under way. */
  probe: AbortController | undefined
  timer: NodeJS.Timeout | undefined
}

/** Pause after the first failed attempt, in ms. It doubles with each one: a peer that is being restarted is back soon. */
const FIRST_RETRY_MS = 1_000

/** The longest pause, in ms: for so long a port that was opened is not used at most. */
const LONGEST_RETRY_MS = 60_000

/** Log a closed port after this many failures. A peer that is being stopped refuses connections for a moment. */
const LOGGED_FAILURES = 2

/** Peers whose port is closed and that are not connected; the oldest is forgotten first. */
const MAX_REMEMBERED = 1_024

/**
 * Which connected peers have a transfer port that this node can't connect to, most often because of a firewall that lets only the
 * p2p port through. That is learned when they are met, or where a connection fails, and looked at again with back-off. Nothing is
 * fetched from such a peer, and nobody waits for it; it may fetch from this node.
 */
export class Reach {
  readonly #options: ReachOptions
  readonly #peers = new Map<PeerId, Entry>()
  #isStopped = false

  constructor(options: ReachOptions) {
    this.#options = options
  }

  /** Whether nothing is known against a peer's transfer port. */
  isOpen(peer: PeerId): boolean {
    return (this.#peers.get(peer)?.failures ?? 0) === 0
  }

  /** Why a peer's transfer port can't be used, with the port; undefined where it can. */
  problemOf(peer: PeerId): string | undefined {
    const entry = this.#peers.get(peer)
    return entry === undefined || entry.failures === 0 ? undefined : problemOf(entry)
  }

  /** What was found out of a peer's transfer port; undefined where it was not looked at. */
  findingOf(peer: PeerId): Finding | undefined {
    const entry = this.#peers.get(peer)
    if (entry === undefined) return undefined
    const isOpen = entry.failures === 0
    return { isOpen, address: formatAddress(entry.peer), reason: isOpen ? undefined : entry.reason?.message }
  }

  /** A peer has told where its transfer server is. What was found before holds until it is found open. */
  met(peer: KnownPeer): void {
    if (this.#isStopped) return
    const before = this.#peers.get(peer.peerId)
    this.#end(before)
    const { failures = 0, reason, isLogged = false } = before ?? {}
    const entry: Entry = { peer, failures, reason, isLogged, probe: undefined, timer: undefined }
    this.#peers.delete(peer.peerId)
    this.#peers.set(peer.peerId, entry)
    // A TCP connection alone costs neither side a handshake, and a fleet that starts makes many.
    this.#look(entry, failures === 0 ? connectTcp : this.#connectTls)
  }

  /** Something with a peer's transfer server has failed: a connection to it says whether that was chance. */
  suspect(peer: PeerId): void {
    const entry = this.#peers.get(peer)
    if (this.#isStopped || entry === undefined || entry.failures > 0 || entry.probe !== undefined) return
    this.#look(entry, this.#connectTls)
  }

  /** A peer is not connected any more. */
  left(peer: PeerId): void {
    const entry = this.#peers.get(peer)
    if (entry === undefined) return
    this.#end(entry)
    if (entry.failures === 0) this.#peers.delete(peer)
    if (this.#peers.size <= MAX_REMEMBERED) return
    for (const [oldest, { timer, probe }] of this.#peers) {
      if (timer !== undefined || probe !== undefined) continue
      this.#peers.delete(oldest)
      return
    }
  }

  stop(): void {
    this.#isStopped = true
    for (const entry of this.#peers.values()) this.#end(entry)
    this.#peers.clear()
  }

  readonly #connectTls: Connect = (peer, connectMs, signal, callback) => {
    const socket = connectPinned(peer, this.#options.context, connectMs, (error) => {
      socket.destroy()
      callback(error)
    })
    signal.addEventListener('abort', () => socket.destroy(), { once: true })
  }

  #end(entry: Entry | undefined): void {
    if (entry === undefined) return
    entry.probe?.abort()
    clearTimeout(entry.timer)
    entry.probe = undefined
    entry.timer = undefined
  }

  /** @param isSecond the attempt follows one that took too long, which may be because this node was busy itself */
  #look(entry: Entry, connectTo: Connect, isSecond = false): void {
    const probe = new AbortController()
    entry.probe = probe
    entry.timer = undefined
    connectTo(entry.peer, this.#options.connectMs, probe.signal, (error) => {
      if (entry.probe !== probe) return
      entry.probe = undefined
      if (error === undefined) this.#open(entry)
      else if (entry.failures === 0 && !isSecond && error instanceof ConnectTimeoutError)
        this.#look(entry, this.#connectTls, true)
      else this.#closed(entry, error)
    })
  }

  /** By another place that the peer has told, if it has: the one that was found first may have been chance. */
  async #again(entry: Entry): Promise<void> {
    const { find, onMoved, connectMs } = this.#options
    entry.timer = undefined
    if ((entry.peer.announced?.length ?? 0) > 0) {
      const probe = new AbortController()
      entry.probe = probe
      const place = await find(entry.peer, AbortSignal.any([probe.signal, AbortSignal.timeout(connectMs)]))
      // The peer has left, or was met anew.
      if (entry.probe !== probe) return
      entry.peer = onMoved(entry.peer, place) ?? entry.peer
    }
    this.#look(entry, this.#connectTls)
  }

  #open(entry: Entry): void {
    const { peer, failures, isLogged } = entry
    if (failures === 0) return
    entry.failures = 0
    entry.isLogged = false
    if (isLogged)
      this.#options.log.info(
        { peer: peer.peerId, address: formatAddress(peer) },
        'the transfer port of a peer is open now',
      )
    this.#options.onChange(peer.peerId, true)
  }

  #closed(entry: Entry, error: Error): void {
    const { peerId } = entry.peer
    entry.failures++
    entry.reason = error
    const pause = Math.min(LONGEST_RETRY_MS, FIRST_RETRY_MS * 2 ** (entry.failures - 1)) * (0.75 + Math.random() / 2)
    entry.timer = setTimeout(() => void this.#again(entry), pause).unref()
    if (entry.failures >= LOGGED_FAILURES && !entry.isLogged) {
      entry.isLogged = true
      this.#options.log.warn(
        { peer: peerId, address: formatAddress(entry.peer), reason: error.message },
        problemOf(entry),
      )
    }
    if (entry.failures === 1) this.#options.onChange(peerId, false)
  }
}

type Connect = (
  peer: KnownPeer,
  connectMs: number,
  signal: AbortSignal,
  callback: (error: Error | undefined) => void,
) => void

const connectTcp: Connect = ({ host, port }, connectMs, signal, callback) => {
  const socket = connect({ host, port })
  const settle = (error: Error | undefined) => {
    endDeadline()
    socket.destroy()
    callback(error)
  }
  const endDeadline = connectDeadline(connectMs, settle)
  // An error after the end would have nobody to hear it.
  socket.once('connect', () => settle(undefined)).on('error', settle)
  signal.addEventListener('abort', () => settle(signal.reason), { once: true })
}

/** Errors of connecting that say nothing of the peer's port, as nothing was sent there. */
const noWay: ReadonlySet<string> = new Set(['ENETUNREACH', 'EHOSTUNREACH', 'ENETDOWN', 'EADDRNOTAVAIL'])

function problemOf({ peer, reason }: Entry): string {
  const why = reason?.message ?? ''
  if (reason instanceof OtherServerError) {
    return `nothing can be fetched from the peer: something else than its transfer server answers at ${formatAddress(peer)} (${why}); name the right address in its configuration (swarm.transferAnnounce), such as that of a port map, or end what listens there`
  }
  const { code = '' } = (reason ?? {}) as NodeJS.ErrnoException
  if (noWay.has(code)) {
    return `nothing can be fetched from the peer: there is no way to ${formatAddress(peer)} (${why}); look at the addresses and routes of this machine, and whether the peer is in the network`
  }
  return `nothing can be fetched from the peer: its transfer port can't be reached (${why}); open TCP port ${peer.port} of ${peer.host} in its firewall (swarm.transferListen), or, behind a port map, name the address that is reached (swarm.transferAnnounce)`
}
