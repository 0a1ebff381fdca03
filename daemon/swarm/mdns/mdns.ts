import { randomBytes } from 'node:crypto'
import { isIPv6 } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import {
  type Connection,
  type PeerId as Libp2pPeerId,
  type PeerDiscovery,
  type PeerDiscoveryEvents,
  peerDiscoverySymbol,
  type Startable,
  TypedEventEmitter,
} from '@libp2p/interface'
import { peerIdFromString } from '@libp2p/peer-id'
import type { Multiaddr } from '@multiformats/multiaddr'
import type { Logger } from 'pino'
import { jitter } from '../discovery/constants.ts'
import { type InterfaceAddress, interfaceAddresses, networksOf, watchInterfaces } from '../discovery/interfaces.ts'
import { scopeOf } from '../scope.ts'
import {
  ANSWER_INTERVAL_MS,
  FAST_QUERIES,
  FAST_QUERY_INTERVAL_MS,
  MAX_PACKET_BYTES,
  QUERY_INTERVAL_MS,
} from './constants.ts'
import { decodeMessage, encodeAnswer, encodeQuery, type Message, readAddresses } from './message.ts'
import { Speaker } from './speaker.ts'

/** What is used of libp2p's components, whose types are in a package of its own. */
interface Components {
  readonly peerId: Libp2pPeerId
  readonly addressManager: { getAddresses(): Multiaddr[]; getListenAddrs(): Multiaddr[] }
  readonly connectionManager: { getConnections(peer: Libp2pPeerId): Connection[] }
}

const FAMILIES = [4, 6] as const

/**
 * Finds peers by multicast DNS, on every interface that is up, by IPv4 and IPv6, as they come and go. It speaks as
 * `@libp2p/mdns` does, which takes the one interface that the default route names, and tells private IPv4 addresses only.
 */
export class MulticastDns extends TypedEventEmitter<PeerDiscoveryEvents> implements PeerDiscovery, Startable {
  readonly [peerDiscoverySymbol] = this
  readonly #components: Components
  readonly #log: Logger
  readonly #speakers: ReadonlyMap<4 | 6, Speaker>
  /** Its name in the records; it says nothing of the node. */
  readonly #name = randomBytes(16).toString('hex')
  readonly #stopped = new AbortController()
  #changed = new AbortController()
  #unwatch: (() => void) | undefined
  #networks = networksOf(interfaceAddresses())
  #running: Promise<void> = Promise.resolve()
  /** By family: set while an answer was given less than the least time ago, or is due at the end of it. */
  readonly #answered = new Map<4 | 6, { again: boolean; readonly timer: NodeJS.Timeout }>()

  constructor(components: Components, log: Logger) {
    super()
    this.#components = components
    this.#log = log
    const speaker = (family: 4 | 6) =>
      new Speaker({ family, onMessage: (bytes, source) => this.#heard(family, bytes, source), log })
    this.#speakers = new Map(FAMILIES.map((family) => [family, speaker(family)]))
  }

  /** Does nothing before the node listens: without addresses there is nothing to tell. */
  start(): void {}

  afterStart(): void {
    this.#unwatch = watchInterfaces(() => {
      this.#networks = networksOf(interfaceAddresses())
      this.#changed.abort()
    })
    this.#running = this.#run()
  }

  async stop(): Promise<void> {
    this.#unwatch?.()
    this.#stopped.abort()
    for (const { timer } of this.#answered.values()) clearTimeout(timer)
    await this.#running
    await Promise.all([...this.#speakers.values()].map((speaker) => speaker.close()))
  }

  /** Asks for peers: often at first, and when interfaces have changed. Tells of this node as well then, as others ask seldom. */
  async #run(): Promise<void> {
    const stopped = this.#stopped.signal
    for (let fast = FAST_QUERIES; !stopped.aborted; fast--) {
      if (this.#changed.signal.aborted) {
        this.#changed = new AbortController()
        fast = FAST_QUERIES
      }
      const addresses = interfaceAddresses()
      await Promise.all([...this.#speakers.values()].map((speaker) => speaker.use(addresses)))
      for (const [family, speaker] of this.#speakers) {
        speaker.send(() => encodeQuery())
        if (fast > 0) this.#answer(family)
      }
      const pause = fast > 0 ? FAST_QUERY_INTERVAL_MS : jitter(QUERY_INTERVAL_MS)
      await delay(pause, undefined, { signal: AbortSignal.any([stopped, this.#changed.signal]) }).catch(() => {})
    }
  }

  /** What comes from other networks is not multicast (RFC 6762, section 11), and may lead anywhere. */
  #isFromHere(family: 4 | 6, source: string): boolean {
    const [address = ''] = source.split('%')
    return this.#networks.check(address, family === 6 ? 'ipv6' : 'ipv4')
  }

  #heard(family: 4 | 6, bytes: Buffer, source: string): void {
    if (bytes.length > MAX_PACKET_BYTES || !this.#isFromHere(family, source)) return
    let message: Message | undefined
    try {
      message = decodeMessage(bytes)
    } catch (err) {
      this.#log.debug({ err }, 'multicast DNS that is not understood')
      return
    }
    if (message?.kind === 'query') this.#answer(family)
    if (message?.kind === 'answer') for (const [peer, addresses] of message.peers) this.#found(peer, addresses)
  }

  #found(peer: string, addresses: readonly string[]): void {
    try {
      const id = peerIdFromString(peer)
      // libp2p writes each peer that is reported to the peer store.
      if (id.equals(this.#components.peerId) || this.#components.connectionManager.getConnections(id).length > 0) return
      const multiaddrs = readAddresses(addresses)
      if (multiaddrs.length === 0) return
      this.dispatchEvent(new CustomEvent('peer', { detail: { id, multiaddrs } }))
    } catch (err) {
      this.#log.debug({ err, peer }, 'multicast DNS names a peer that can not be')
    }
  }

  /** Answers at once, or once at the end of the least time since the answer before. */
  #answer(family: 4 | 6): void {
    if (this.#stopped.signal.aborted) return
    const before = this.#answered.get(family)
    if (before !== undefined) {
      before.again = true
      return
    }
    const timer = setTimeout(() => {
      const { again } = this.#answered.get(family) ?? {}
      this.#answered.delete(family)
      if (again) this.#answer(family)
    }, ANSWER_INTERVAL_MS)
    this.#answered.set(family, { again: false, timer })
    this.#speakers.get(family)?.send(this.#ownAnswer())
  }

  /** What is told on an interface: its own addresses first. Loopback's are of use on the same machine only. */
  #ownAnswer(): (address: InterfaceAddress) => Uint8Array | undefined {
    const { addressManager, peerId } = this.#components
    const interfaces = interfaceAddresses()
    const interfaceOf = new Map(interfaces.map((one) => [one.address, one]))
    const addresses = addressManager.getAddresses()
    const own = addresses.map((address) => {
      const at = interfaceOf.get(hostOf(address) ?? '')
      return { text: address.toString(), at: at?.name, internal: at?.internal ?? false }
    })
    const port = linkLocalPort(addressManager.getListenAddrs(), addresses)
    const linkLocal = interfaces.filter(({ address, family, internal }) => {
      return port !== undefined && family === 4 && !internal && scopeOf(address, []) === 'link'
    })
    return ({ name, internal }) => {
      const useful = own
        .filter((one) => internal || !one.internal)
        .map(({ text, at }) => ({ text, isHere: at === name }))
      const here = linkLocal.filter((one) => one.name === name)
      const ordered = [
        ...useful.filter(({ isHere }) => isHere).map(({ text }) => text),
        ...here.map(({ address }) => `/ip4/${address}/tcp/${port}/p2p/${peerId}`),
        ...useful.filter(({ isHere }) => !isHere).map(({ text }) => text),
      ]
      return ordered.length === 0 ? undefined : encodeAnswer(this.#name, ordered)
    }
  }
}

function hostOf(address: Multiaddr): string | undefined {
  return address.getComponents()[0]?.value
}

/**
 * The TCP port by which link-local addresses of IPv4 reach the node; undefined where it does not listen at all addresses. libp2p
 * names no link-local addresses, as they mean something on their own link only: there they are told. Those of IPv6 are not, as
 * libp2p's TCP can't dial a zone.
 */
function linkLocalPort(listening: readonly Multiaddr[], addresses: readonly Multiaddr[]): string | undefined {
  if (!listening.some((address) => hostOf(address) === '0.0.0.0')) return undefined
  // It may have been port 0. Loopback is there in any case.
  const loopback = addresses.find(
    (address) => scopeOf(hostOf(address) ?? '', []) === 'machine' && !isIPv6(hostOf(address) ?? ''),
  )
  return loopback?.getComponents().find(({ name }) => name === 'tcp')?.value
}
