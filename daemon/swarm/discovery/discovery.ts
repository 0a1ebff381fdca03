import { setMaxListeners } from 'node:events'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { peerIdFromString } from '@libp2p/peer-id'
import { type Multiaddr, multiaddr } from '@multiformats/multiaddr'
import type { Logger } from 'pino'
import type { Heard } from '../heard.ts'
import type { Dials } from '../limits/dials.ts'
import type { Node } from '../node.ts'
import type { PeerId } from '../ports.ts'
import type { Neighbourhood } from '../routing/neighbourhood.ts'
import { placeOf, type Seed } from './addresses.ts'
import { MAX_REMEMBERED, OWN_ADDRESS_MS } from './constants.ts'
import { Dialer } from './dialer.ts'
import { reachesPeers, watchInterfaces } from './interfaces.ts'
import { Liveness } from './liveness.ts'
import type { SeedWatch } from './seed-watch.ts'
import { Seeds } from './seeds.ts'
import { Walk } from './walk.ts'

interface DiscoveryOptions {
  readonly node: Node
  /** Is told which addresses the user has named, and when to try all again. */
  readonly dials: Pick<Dials, 'trust' | 'forgive'>
  readonly seeds: readonly Seed[]
  readonly admits: (peer: PeerId) => boolean
  /** Says for whom there is room. */
  readonly neighbourhood: Pick<Neighbourhood, 'mayDial' | 'needsSeeds' | 'isLarge'>
  /** What is probably wrong with an address that was dialled in vain. @param since when (performance.now()) */
  readonly problemAt: (address: Multiaddr, since: number) => string | undefined
  /** What came from peers beside libp2p. */
  readonly heard: Pick<Heard, 'since'>
  /** A connection with a peer was dead: what goes on with it beside libp2p is most probably dead, too. */
  readonly onDead: (peer: PeerId) => void
  readonly log: Logger
}

/** Keeps the node connected: to its seeds, to peers that mDNS and the DHT name, and to those it knew before. */
export class Discovery {
  readonly #node: Node
  readonly #dials: Pick<Dials, 'trust' | 'forgive'>
  readonly #dialer: Dialer
  readonly #seeds: Seeds
  #isAlone = true
  readonly #walk: Walk
  readonly #liveness: Liveness
  readonly #log: Logger
  #unwatch = () => {}
  /** Addresses that turned out to be our own, and until when that is believed, in ms; at most as many as seeds have. */
  readonly #own = new Map<string, number>()

  constructor({ node, dials, seeds, admits, neighbourhood, problemAt, heard, onDead, log }: DiscoveryOptions) {
    this.#node = node
    this.#dials = dials
    const isConnected = (peer: PeerId) => node.getConnections(peerIdFromString(peer)).length > 0
    const connectionCount = () => node.getConnections().length
    this.#dialer = new Dialer({
      dial: (peer, signal) => node.dial(peerIdFromString(peer), { signal }),
      isConnected,
      connectionCount,
      admits,
      mayDial: (peer) => neighbourhood.mayDial(peer),
      log,
    })
    this.#seeds = new Seeds({
      seeds,
      dial: async (address, signal) => {
        const dialledAt = performance.now()
        dials.trust(address)
        try {
          return await node.dial(this.#withoutOwnId(address), { signal })
        } catch (error) {
          // The end of the connection is heard of a moment later.
          await nextTurn()
          const problem = problemAt(address, dialledAt)
          throw problem === undefined ? error : new Error(`${problem}: ${(error as Error).message}`, { cause: error })
        }
      },
      isConnected,
      connectionCount,
      areNeeded: () => neighbourhood.needsSeeds,
      isSelf: (address) => this.#isSelf(address),
      log,
    })
    this.#liveness = new Liveness({ connections: () => node.getConnections(), heard, onDead, log })
    this.#log = log
    this.#walk = new Walk({
      walk: (signal) => this.#meetNeighbours(signal),
      // In a large swarm the neighbourhood looks for those that it wants.
      isNeeded: () => connectionCount() > 0 && !neighbourhood.isLarge,
      log,
    })
  }

  async start(): Promise<void> {
    this.#node.addEventListener('peer:discovery', ({ detail: { id, multiaddrs } }) => {
      if (!this.#dialer.isNew(id.toString())) return
      // libp2p stores the addresses too, but perhaps after we dial
      this.#node.peerStore
        .merge(id, { multiaddrs })
        .then(() => this.#dialer.discovered(id.toString()))
        .catch(() => {})
    })
    this.#node.addEventListener('peer:connect', ({ detail }) => this.#dialer.connected(detail.toString()))
    this.#node.addEventListener('peer:disconnect', ({ detail }) => {
      this.#dialer.lost(detail.toString())
      this.#seeds.lost(detail.toString())
      if (this.#node.getPeers().length === 0) this.#isAlone = true
    })
    // Not by the number of peers: two seeds may answer in one moment.
    this.#node.addEventListener('peer:identify', () => {
      if (this.#isAlone) this.#walk.joined()
      this.#isAlone = false
    })
    // Two may stand where both sides have dialled, or a peer has a new address and the old connection is dead.
    this.#node.addEventListener('connection:open', ({ detail }) => {
      this.#liveness.check(this.#node.getConnections(detail.remotePeer).filter((other) => other !== detail))
    })
    this.#seeds.start()
    this.#walk.start()
    this.#liveness.start()
    this.#unwatch = watchInterfaces(() => this.#networkChanged(this.#log), reachesPeers)
    await this.#dialRemembered()
  }

  async stop(): Promise<void> {
    this.#unwatch()
    this.#liveness.stop()
    await Promise.all([this.#dialer.stop(), this.#seeds.stop(), this.#walk.stop()])
  }

  /** Which seeds answer. */
  get seeds(): SeedWatch {
    return this.#seeds.watch
  }

  isSeed(peer: PeerId): boolean {
    return this.#seeds.isSeed(peer)
  }

  /** Takes note of an address that led back to this node. */
  foundSelf(address: Multiaddr): void {
    this.#own.set(placeOf(address), performance.now() + OWN_ADDRESS_MS)
  }

  /** Something with a peer has failed: it is asked for a sign of life. */
  check(peer: PeerId): void {
    this.#liveness.check(this.#node.getConnections(peerIdFromString(peer)))
  }

  /** The machine has other addresses than before. Connections may be dead, and peers within reach that were not. */
  #networkChanged(log: Logger): void {
    this.#own.clear()
    log.info('the addresses of this machine have changed: peers are looked for anew')
    this.#liveness.check(this.#node.getConnections())
    this.#dials.forgive()
    this.#seeds.hurry()
    this.#dialer.hurry()
    this.#dialRemembered().catch(() => {})
  }

  async #dialRemembered(): Promise<void> {
    for (const { id } of await this.#node.peerStore.all({ limit: MAX_REMEMBERED }))
      this.#dialer.discovered(id.toString())
  }

  /** Each answer's peers are reported by libp2p as discovered. */
  async #meetNeighbours(signal: AbortSignal): Promise<void> {
    setMaxListeners(0, signal)
    const own = this.#node.peerId.toMultihash().bytes
    for await (const _ of this.#node.services.dht.getClosestPeers(own, { signal })) signal.throwIfAborted()
  }

  /** libp2p refuses to dial its own PeerId: that another machine has it would not be found out. */
  #withoutOwnId(address: Multiaddr): Multiaddr {
    return address.toString().endsWith(`/p2p/${this.#node.peerId}`) ? multiaddr(placeOf(address)) : address
  }

  #isSelf(address: Multiaddr): boolean {
    const place = placeOf(address)
    return (
      (this.#own.get(place) ?? 0) > performance.now() ||
      this.#node.getMultiaddrs().some((own) => placeOf(own) === place)
    )
  }
}
