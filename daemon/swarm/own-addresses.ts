import type { ComponentLogger, Libp2pEvents, PeerId, PeerStore, Startable, TypedEventTarget } from '@libp2p/interface'
import type { Multiaddr } from '@multiformats/multiaddr'
import { watchInterfaces } from './discovery/interfaces.ts'

/** What is used of libp2p's components, whose types are in a package of its own. */
interface Components {
  readonly peerId: PeerId
  readonly peerStore: PeerStore
  readonly events: TypedEventTarget<Libp2pEvents>
  readonly addressManager: {
    getAddresses(): Multiaddr[]
    confirmObservedAddr(address: Multiaddr, options: { type: 'transport'; ttl: number }): void
  }
  readonly transportManager: { getAddrs(): Multiaddr[] }
  readonly logger: ComponentLogger
}

/**
 * Keeps what the node announces in step with its interfaces. libp2p announces an address that is not private only after a
 * stranger (AutoNAT) has confirmed that it can be dialled. Peers of a swarm may have no stranger: on a campus, or on bare metal,
 * they would announce nothing. What can't be dialled costs a peer time, but does not keep it from the others
 * (discovery/address-order.ts).
 */
export class OwnAddresses implements Startable {
  readonly #components: Components
  #unwatch: (() => void) | undefined
  readonly #onListening = () => this.#confirm()

  constructor(components: Components) {
    this.#components = components
  }

  start(): void {
    this.#components.events.addEventListener('transport:listening', this.#onListening)
    this.#unwatch = watchInterfaces(() => this.#changed())
  }

  stop(): void {
    this.#components.events.removeEventListener('transport:listening', this.#onListening)
    this.#unwatch?.()
  }

  #confirm(): void {
    const { addressManager, transportManager } = this.#components
    for (const address of transportManager.getAddrs()) {
      addressManager.confirmObservedAddr(address, { type: 'transport', ttl: Number.POSITIVE_INFINITY })
    }
  }

  /** libp2p looks at the interfaces whenever it is asked, but tells peers of a change only when the peer store has it. */
  #changed(): void {
    const { addressManager, peerId, peerStore, logger } = this.#components
    this.#confirm()
    // the record of a peer has addresses without its PeerId
    const multiaddrs = addressManager.getAddresses().map((address) => address.decapsulate(`/p2p/${peerId}`))
    peerStore
      .patch(peerId, { multiaddrs })
      .catch((error) => logger.forComponent('layerd:addresses').error('own addresses were not written: %e', error))
  }
}
