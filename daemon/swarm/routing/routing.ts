import { setTimeout as delay } from 'node:timers/promises'
import type { Ed25519PrivateKey, Stream } from '@libp2p/interface'
import { peerIdFromString } from '@libp2p/peer-id'
import { type Multiaddr, multiaddr } from '@multiformats/multiaddr'
import type { Logger } from 'pino'
import type { Digest } from '../../../proxy/oci/digest.ts'
import type { AnnouncedRecords } from '../announce/server.ts'
import { ClosestPeers } from '../coordination/closest.ts'
import { COORDINATORS } from '../coordination/constants.ts'
import { placeOf } from '../discovery/addresses.ts'
import { positionOf } from '../find/key-space.ts'
import type { KnownPeers } from '../known-peers.ts'
import type { PeerLinks } from '../link/links.ts'
import type { Node } from '../node.ts'
import type { PeerId, ShareListener } from '../ports.ts'
import type { ProviderRecords } from '../router/records.ts'
import { signingKey } from '../signing.ts'
import { LEAVE_MS, MAX_ADDRESSES, MAX_ROUTE_STREAMS, OWN_ADDRESSES_MS, ROUTE_PROTOCOL } from './constants.ts'
import { Neighbourhood } from './neighbourhood.ts'
import { RoutedPublisher } from './publisher.ts'
import { Router } from './router.ts'

interface RoutingOptions {
  readonly node: Node
  readonly privateKey: Ed25519PrivateKey
  readonly maxConnections: number
  readonly known: Pick<KnownPeers, 'get' | 'list'>
  readonly links: Pick<PeerLinks, 'movedAt'>
  readonly listener: Pick<ShareListener, 'claim'>
  readonly records: Pick<ProviderRecords, 'local'>
  readonly announced: AnnouncedRecords
  readonly admits: (peer: PeerId) => boolean
  readonly canGive: (peer: PeerId) => boolean
  readonly isSeed: (peer: PeerId) => boolean
  /** All blobs that this node announces. */
  readonly shared: ReadonlySet<Digest>
  readonly openStream: (peer: PeerId, signal: AbortSignal) => Promise<Stream>
  readonly onChange: (isLarge: boolean) => void
  readonly log: Logger
}

/** What a node needs in a swarm that is larger than its connections: whom to be connected with, and how to reach the others. */
export class Routing {
  readonly #options: RoutingOptions
  readonly router: Router
  readonly neighbourhood: Neighbourhood
  readonly publisher: RoutedPublisher
  /** Who is near a key, connected or not. */
  readonly closest: ClosestPeers
  /** Where connected peers listen, as they told; in the form in which others dial them. */
  readonly #addresses = new Map<PeerId, readonly string[]>()
  /** Peers that are being dialled for a transfer. */
  readonly #demanded = new Set<PeerId>()
  #own: { readonly addresses: readonly string[]; readonly until: number } = { addresses: [], until: 0 }

  constructor(options: RoutingOptions) {
    this.#options = options
    const { node, privateKey, maxConnections, known, links, admits, isSeed, shared, onChange, log } = options
    const self = node.peerId.toString()
    this.router = new Router({
      ...options,
      self,
      key: signingKey(privateKey),
      isLarge: () => this.isLarge,
      addressesOf: (peer) => (peer === self ? this.#ownAddresses() : (this.#addresses.get(peer) ?? [])),
      onFull: (peer) => this.neighbourhood.full(peer),
      onLarge: (peer, isLarge) => this.neighbourhood.heardLarge(peer, isLarge),
    })
    this.neighbourhood = new Neighbourhood({
      self,
      max: maxConnections,
      usedAt: (peer) => links.movedAt(peer),
      isSeed,
      isKnown: (peer) => known.get(peer) !== undefined,
      addressOf: (peer) => {
        const found = known.get(peer)
        return found?.source?.host ?? found?.host
      },
      nearest: async (to, count, others = []) => {
        const asked = others.map((peer) => this.router.nearestKnownTo(peer, to, count))
        return (await Promise.all([this.router.nearest(to, count, self), ...asked])).flat()
      },
      dial: (peer, addresses, signal) => this.#dial(peer, addresses, signal),
      admits,
      leave: (peer) => this.#leave(peer),
      onChange: (isLarge) => {
        this.publisher.refresh()
        for (const { peerId } of known.list()) this.#tellLarge(peerId, isLarge)
        onChange(isLarge)
      },
      log,
    })
    this.closest = new ClosestPeers({
      isLarge: () => this.isLarge,
      admits: options.canGive,
      query: async (key) => (await this.router.nearest(positionOf(key), COORDINATORS)).map(({ peer }) => peer),
    })
    this.publisher = new RoutedPublisher({
      router: this.router,
      shared,
      isLarge: () => this.isLarge,
      lossesPerMinute: () => this.neighbourhood.lossesPerMinute,
      log,
    })
  }

  /** Whether the swarm is larger than this node's connections. */
  get isLarge(): boolean {
    return this.neighbourhood.isLarge
  }

  /** To be called before the node starts. */
  async start(): Promise<void> {
    const { node } = this.#options
    await node.handle(ROUTE_PROTOCOL, this.router.handler, { maxInboundStreams: MAX_ROUTE_STREAMS })
    node.addEventListener('peer:connect', ({ detail }) => this.neighbourhood.connected(detail.toString()))
    node.addEventListener('peer:identify', ({ detail: { peerId, listenAddrs, connection } }) => {
      // The one that stands is known to work.
      const seen = connection.direction === 'outbound' ? [connection.remoteAddr] : []
      const addresses = [...new Set([...seen, ...listenAddrs].map(placeOf))].slice(0, MAX_ADDRESSES)
      if (node.getConnections(peerId).length > 0) this.#addresses.set(peerId.toString(), addresses)
    })
  }

  async stop(): Promise<void> {
    this.router.stop()
    await this.neighbourhood.stop()
  }

  /** To be called when requests can be sent to a peer. */
  ready(peer: PeerId): void {
    this.router.connected(peer)
    if (this.isLarge) this.#tellLarge(peer, true)
  }

  /** To be called when a connection has ended. @returns whether it was for lack of room: the peer is there still */
  disconnected(peer: PeerId): boolean {
    this.router.disconnected(peer)
    this.#addresses.delete(peer)
    return this.neighbourhood.disconnected(peer)
  }

  isConnected(peer: PeerId): boolean {
    return this.#options.node.getConnections(peerIdFromString(peer)).length > 0
  }

  /**
   * Whether a dial is to be refused that comes from elsewhere: libp2p connects again by itself to peers of its DHT that were left, and so
   * each of them would be cut and dialled in turn.
   */
  denies(peer: PeerId): boolean {
    return this.isLarge && !this.#demanded.has(peer) && !this.neighbourhood.mayDial(peer)
  }

  /** Connects to a peer for a transfer, also where discovery would not. Rejects where it can't be reached. */
  async connect(peer: PeerId, signal: AbortSignal): Promise<void> {
    if (this.isConnected(peer)) return
    const addresses = this.isLarge ? await this.router.where(peer, signal) : undefined
    if (addresses !== undefined) {
      this.#demanded.add(peer)
      await this.#dial(peer, addresses, signal).finally(() => this.#demanded.delete(peer))
    } else if (this.isLarge) throw new Error(`${peer} is not in the swarm any more`)
    else await this.#options.node.dial(peerIdFromString(peer), { signal })
  }

  #tellLarge(peer: PeerId, isLarge: boolean): void {
    const { log } = this.#options
    this.router
      .tellLarge(peer, isLarge)
      .catch((error) => log.debug({ peer, err: error }, 'a peer was not told how large the swarm is'))
  }

  async #dial(peer: PeerId, addresses: readonly string[], signal: AbortSignal): Promise<void> {
    const parsed = addresses.map((text) => withPeer(text, peer)).filter((address) => address !== undefined)
    if (parsed.length === 0) throw new Error(`no address of ${peer} is known`)
    await this.#options.node.dial(parsed, { signal })
  }

  async #leave(peer: PeerId): Promise<void> {
    const { node, log } = this.#options
    const told = this.router.tellFull(peer)
    await Promise.race([told, delay(LEAVE_MS, undefined, { ref: false })]).catch((error) =>
      log.debug({ peer, err: error }, 'a peer was not told that there is no room for it'),
    )
    await node.hangUp(peerIdFromString(peer), { signal: AbortSignal.timeout(LEAVE_MS) })
  }

  #ownAddresses(): readonly string[] {
    const now = performance.now()
    if (now >= this.#own.until) {
      const addresses = this.#options.node.getMultiaddrs().map(placeOf).slice(0, MAX_ADDRESSES)
      this.#own = { addresses, until: now + OWN_ADDRESSES_MS }
    }
    return this.#own.addresses
  }
}

/** An address of a peer, as it is dialled; undefined where it is none. */
function withPeer(text: string, peer: PeerId): Multiaddr | undefined {
  try {
    return multiaddr(`${placeOf(multiaddr(text))}/p2p/${peer}`)
  } catch {
    return undefined
  }
}
