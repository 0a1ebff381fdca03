import type { SecureContext } from 'node:tls'
import type { Logger } from 'pino'
import type { KnownPeer } from '../known-peers.ts'
import type { PeerLimits } from '../limits/peer-limits.ts'
import type { Links, PartHead, PeerId, ShareListener } from '../ports.ts'
import type { TransferCertificate } from '../transfer/certificate.ts'
import type { TransferDeadlines } from '../transfer/constants.ts'
import { createClientContext } from '../transfer/pool.ts'
import { openUpgraded, type Upgraded, type UpgradeKind } from '../transfer/upgrade.ts'
import { Buffers } from './buffers.ts'
import { CHECKS_IN_IDLE_TIME, IDLE_MS, MAX_LINKS, MAX_PART_BYTES, MAX_SPARE_BUFFERS, SLICE_BYTES } from './constants.ts'
import { Link, type LinkBuffers } from './link.ts'
import { SLICE_HEAD_BYTES } from './slice.ts'

interface PeerLinksOptions {
  readonly certificate: TransferCertificate
  readonly limits: PeerLimits
  readonly listener: ShareListener
  /** A peer's transfer address, if it is connected. */
  readonly known: (peer: PeerId) => KnownPeer | undefined
  /** Gives a peer's transfer address, connecting to it first where needed. Rejects when the signal is aborted. */
  readonly locate: (peer: PeerId, signal: AbortSignal) => Promise<KnownPeer>
  readonly deadlines: TransferDeadlines
  /** Told when a connection to a known peer could not be made. */
  readonly onUnreached: (peer: PeerId) => void
  /** Told when something has come from a peer. */
  readonly onHeard: (peer: PeerId) => void
  readonly log: Logger
  /** See {@link IDLE_MS}. */
  readonly idleMs?: number | undefined
  /** See {@link MAX_LINKS}. */
  readonly maxLinks?: number
}

/** The links with peers, one each. */
export class PeerLinks implements Links {
  readonly #options: PeerLinksOptions
  readonly #context: SecureContext
  readonly #links = new Map<PeerId, Link>()
  readonly #idleMs: number
  readonly #timer: NodeJS.Timeout
  readonly #buffers: LinkBuffers = {
    parts: new Buffers(MAX_PART_BYTES, MAX_SPARE_BUFFERS),
    slices: new Buffers(SLICE_HEAD_BYTES + SLICE_BYTES, MAX_SPARE_BUFFERS),
  }
  #isStopped = false

  constructor(options: PeerLinksOptions) {
    this.#options = options
    this.#context = createClientContext(options.certificate)
    this.#idleMs = options.idleMs ?? IDLE_MS
    this.#timer = setInterval(() => this.#check(), this.#idleMs / CHECKS_IN_IDLE_TIME).unref()
  }

  send(peer: PeerId, message: Uint8Array): void {
    if (!this.#isStopped) this.#with(peer).send(message)
  }

  async sendPart(peer: PeerId, head: PartHead, bytes: Uint8Array, signal: AbortSignal): Promise<void> {
    if (this.#isStopped) throw new Error('the swarm is not running')
    await this.#with(peer).sendPart(head, bytes, signal)
  }

  /** When something went over the link with a peer last, in ms of the monotonic clock; undefined where there is none. */
  movedAt(peer: PeerId): number | undefined {
    return this.#links.get(peer)?.movedAt
  }

  /** Takes a connection that a peer has opened. */
  accept(peer: PeerId, kind: UpgradeKind, upgraded: Upgraded): void {
    if (this.#isStopped) {
      upgraded.socket.destroy()
      return
    }
    const link = this.#with(peer)
    if (link.accept(kind, upgraded)) return
    // The peer has begun a new link, and its end of the old one has not come here yet.
    link.end(new Error('the peer opened the link anew'))
    this.#ended(link)
    this.#with(peer).accept(kind, upgraded)
  }

  /** Ends the link with a peer. */
  cut(peer: PeerId): void {
    this.#links.get(peer)?.end(new Error('this node ended the link'))
  }

  /** Ends all links; the listener is told nothing more. */
  stop(): void {
    this.#isStopped = true
    clearInterval(this.#timer)
    for (const link of this.#links.values()) link.end(new Error('this node stops'))
    this.#links.clear()
  }

  #with(peer: PeerId): Link {
    const existing = this.#links.get(peer)
    if (existing !== undefined) return existing
    this.#makeRoom()
    const { limits, listener, deadlines, onHeard } = this.#options
    const link = new Link({
      peer,
      limits,
      listener,
      buffers: this.#buffers,
      // The peer may have to find and to dial this node first.
      askMs: 2 * deadlines.connect + deadlines.headers,
      open: (kind, signal) => this.#open(peer, kind, signal),
      onHeard: () => onHeard(peer),
      onEnd: (ended, reason) => {
        this.#options.log.debug({ peer, reason: reason.message }, 'a link ended')
        this.#ended(ended)
      },
    })
    this.#links.set(peer, link)
    return link
  }

  /** May be called more than once. */
  #ended(link: Link): void {
    if (this.#links.get(link.peer) !== link) return
    this.#links.delete(link.peer)
    this.#options.listener.gone(link.peer)
  }

  #makeRoom(): void {
    if (this.#links.size < (this.#options.maxLinks ?? MAX_LINKS)) return
    let oldest: Link | undefined
    for (const link of this.#links.values()) {
      if (!link.isOver && (oldest === undefined || link.movedAt < oldest.movedAt)) oldest = link
    }
    oldest?.end(new Error('this node has too many links, and this one was idle for longest'))
  }

  async #open(peer: PeerId, kind: UpgradeKind, signal: AbortSignal): Promise<Upgraded> {
    const { known, locate, deadlines, onUnreached } = this.#options
    const within = AbortSignal.any([signal, AbortSignal.timeout(deadlines.connect)])
    const address = known(peer) ?? (await locate(peer, within))
    try {
      return await openUpgraded(address, kind, this.#context, deadlines, signal)
    } catch (error) {
      if (!signal.aborted) onUnreached(peer)
      throw error
    }
  }

  #check(): void {
    const now = performance.now()
    for (const link of this.#links.values()) link.check(now, this.#idleMs)
  }
}
