import type { Logger } from 'pino'
import type { Heard } from '../heard.ts'
import type { KnownPeer, KnownPeers } from '../known-peers.ts'
import type { PeerLimits } from '../limits/peer-limits.ts'
import { PeerLinks } from '../link/links.ts'
import type { SwarmOptions } from '../options.ts'
import type { PeerId, ShareListener } from '../ports.ts'
import type { TransferCertificate } from './certificate.ts'
import { TransferClient } from './client.ts'
import type { TransferDeadlines } from './constants.ts'
import { TransferServer } from './server.ts'

interface TransfersOptions extends Pick<SwarmOptions, 'config' | 'content' | 'onServed' | 'linkIdleMs'> {
  readonly certificate: TransferCertificate
  readonly limits: PeerLimits
  readonly known: KnownPeers
  readonly listener: ShareListener
  readonly heard: Heard
  readonly deadlines: TransferDeadlines
  /** Gives a peer's transfer address, connecting to it first where needed. Rejects when the signal is aborted. */
  readonly locate: (peer: PeerId, signal: AbortSignal) => Promise<KnownPeer>
  /** A connection to a known peer could not be made. */
  readonly onUnreached: (peer: PeerId) => void
  /** A peer broke off, or sent what it should not. */
  readonly onBroken: (peer: PeerId) => void
  readonly log: Logger
}

/** What goes between this node and its peers beside libp2p: HTTPS in both directions, and the links. */
export class Transfers {
  readonly client: TransferClient
  readonly links: PeerLinks
  readonly server: TransferServer
  readonly #known: KnownPeers

  constructor({ config, content, onServed = () => {}, linkIdleMs, ...options }: TransfersOptions) {
    const { known, heard } = options
    const both = { ...options, known: (peer: PeerId) => known.get(peer), onHeard: heard.note }
    this.#known = known
    this.client = new TransferClient(both)
    this.links = new PeerLinks({ ...both, idleMs: linkIdleMs })
    this.server = new TransferServer({
      ...options,
      content,
      identify: (fingerprint, address) => known.byFingerprint(fingerprint, address),
      onUpgrade: (peer, kind, upgraded) => this.links.accept(peer, kind, upgraded),
      uploads: config.uploads,
      onServed,
    })
  }

  /** What goes on with a peer is most probably dead: it is begun anew. */
  cut(peer: PeerId): void {
    this.client.cut(peer)
    this.links.cut(peer)
  }

  /** Ends all that goes on with a peer, in both directions, and forgets it. */
  end(peer: PeerId): void {
    const fingerprint = this.#known.delete(peer)?.fingerprint
    if (fingerprint !== undefined) this.server.cut(fingerprint)
    this.cut(peer)
  }
}
