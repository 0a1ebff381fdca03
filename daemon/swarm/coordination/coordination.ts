import type { Connection, Stream, StreamHandler } from '@libp2p/interface'
import type { Digest } from '../../../proxy/oci/digest.ts'
import { Conversation, Conversations, frame } from '../conversation.ts'
import type { FindClient } from '../find/client.ts'
import { ANSWER_TIMEOUT_MS } from '../find/constants.ts'
import { KeySpace } from '../find/key-space.ts'
import { nearestPeers } from '../find/nearest.ts'
import type { Coordination, PeerId, ShareListener } from '../ports.ts'
import { asTheyArrive } from '../router/arrivals.ts'
import { hashOf, multihashOf } from '../router/cid.ts'
import type { ProviderRecords } from '../router/records.ts'
import type { Router } from '../routing/router.ts'
import type { ClosestPeers } from './closest.ts'
import {
  CLOSEST_VALID_MS,
  COORDINATORS,
  MAX_KEYS,
  MAX_MESSAGE_BYTES,
  MAX_RECORDED,
  OPEN_TIMEOUT_MS,
} from './constants.ts'

interface Far {
  /** Whether the swarm is larger than what this node sees of it. */
  readonly isLarge: boolean
  readonly closest: Pick<ClosestPeers, 'near' | 'lost'>
  readonly router: Pick<Router, 'tell'>
  isConnected(peer: PeerId): boolean
}

interface PeerCoordinationOptions {
  readonly self: PeerId
  readonly listener: Pick<ShareListener, 'claim'>
  readonly records: Pick<ProviderRecords, 'local'>
  readonly find: Pick<FindClient, 'ask'>
  /** How peers that are not connected are found and told. */
  readonly routing: Far
  readonly admits: (peer: PeerId) => boolean
  readonly openStream: (peer: PeerId, signal: AbortSignal) => Promise<Stream>
}

/** Coordinators are those to whom a blob is announced first: nearest in the key space of the DHT. */
export class PeerCoordination implements Coordination {
  readonly #options: PeerCoordinationOptions
  readonly #conversations: Conversations<Conversation<unknown, object>>
  readonly #space = new KeySpace()
  /** Until a peer comes or goes. By digest, the one asked for the longest ago first. */
  readonly #nearest = new Map<Digest, { readonly peers: readonly PeerId[]; readonly until: number }>()

  constructor(options: PeerCoordinationOptions) {
    this.#options = options
    const start = (peer: PeerId, stream: Stream) => this.#converse(peer, stream)
    this.#conversations = new Conversations({ openStream: options.openStream, openTimeout: OPEN_TIMEOUT_MS, start })
    this.#space.add(options.self)
  }

  /**
   * To be called when a peer can coordinate. One of both opens the stream ahead of the first question, which is then answered
   * within a round trip; where it breaks, it is opened again with the next message.
   */
  joined(peer: PeerId): void {
    this.#space.add(peer)
    this.#nearest.clear()
    const { self, routing } = this.#options
    // In a large swarm most peers have nothing to say to each other.
    if (self < peer && !routing.isLarge) this.#conversations.with(peer).catch(() => {})
  }

  /** A peer is connected and does not coordinate: what it reads from upstream could not be fetched from it. */
  passOver(peer: PeerId): void {
    this.#space.delete(peer)
    this.#nearest.clear()
  }

  /** To be called when a peer is gone, or is not to be asked any more. */
  left(peer: PeerId): void {
    this.#space.delete(peer)
    this.#nearest.clear()
    this.#conversations.forget(peer)
  }

  /** The swarm is larger now than this node sees it, or no longer: what was found before does not hold. */
  forgetNearest(): void {
    this.#nearest.clear()
  }

  async coordinators(digest: Digest): Promise<readonly PeerId[]> {
    const found = this.#nearest.get(digest)
    const now = performance.now()
    if (found !== undefined && now < found.until) return found.peers
    const key = multihashOf(hashOf(digest))
    const connected = this.#space.nearest(key, COORDINATORS)
    if (!this.#options.routing.isLarge) return this.#remember(digest, connected, Number.POSITIVE_INFINITY)
    const named = await this.#options.routing.closest.near(key)
    const peers = withOneOf(connected, nearestPeers([...new Set([...connected, ...named])], key, COORDINATORS))
    // The lookup may just have been slow.
    return named.length === 0 ? peers : this.#remember(digest, peers, now + CLOSEST_VALID_MS)
  }

  async recorded(digest: Digest): Promise<readonly PeerId[]> {
    const { records, self, admits } = this.#options
    const peers = await records.local(hashOf(digest), MAX_RECORDED)
    return peers.filter((peer) => peer === self || admits(peer))
  }

  async announced(digest: Digest): Promise<readonly PeerId[]> {
    const own = await this.recorded(digest)
    if (own.length > 0) return own
    const { self, find, admits, routing } = this.#options
    // Those near a key are near each other, and connected.
    const others = (await this.coordinators(digest)).filter((peer) => peer !== self && routing.isConnected(peer))
    const key = hashOf(digest)
    const answers = others.map((peer) => find.ask(peer, key))
    for await (const answer of asTheyArrive(answers, ANSWER_TIMEOUT_MS, AbortSignal.timeout(ANSWER_TIMEOUT_MS))) {
      const peers = answer.filter((peer) => peer === self || admits(peer)).slice(0, MAX_RECORDED)
      if (peers.length > 0) return peers
    }
    return []
  }

  async tell(peer: PeerId, message: object): Promise<void> {
    if (!this.#options.routing.isConnected(peer)) return await this.#tellFar(peer, message)
    const bytes = frame(message)
    if (bytes.length > MAX_MESSAGE_BYTES) {
      throw new RangeError(`a message of ${bytes.length} bytes; a peer takes ${MAX_MESSAGE_BYTES} at most`)
    }
    const conversation = await this.#conversations.with(peer)
    // A peer that does not read is told nothing more until it does: it asks again.
    if (!conversation.isClogged) conversation.sendFramed(bytes)
  }

  async #tellFar(peer: PeerId, message: object): Promise<void> {
    const { router, closest } = this.#options.routing
    try {
      await router.tell(peer, message)
    } catch (error) {
      // It may have gone, and another one be the nearest.
      closest.lost(peer)
      for (const [digest, { peers }] of this.#nearest) if (peers.includes(peer)) this.#nearest.delete(digest)
      throw error
    }
  }

  /** Takes streams that peers open. */
  readonly handler: StreamHandler = (stream: Stream, connection: Connection) => {
    const peer = connection.remotePeer.toString()
    this.#conversations.adopt(peer, this.#converse(peer, stream))
  }

  #converse(peer: PeerId, stream: Stream): Conversation<unknown, object> {
    return new Conversation<unknown, object>({
      stream,
      maxBytes: MAX_MESSAGE_BYTES,
      // Its fields are checked by whoever knows what they mean.
      parse: (value) => value,
      onMessage: (message) => this.#options.listener.claim(peer, message),
      onClose: () => {},
    })
  }

  #remember(digest: Digest, peers: readonly PeerId[], until: number): readonly PeerId[] {
    this.#nearest.delete(digest)
    this.#nearest.set(digest, { peers, until })
    const [oldest] = this.#nearest.keys()
    if (this.#nearest.size > MAX_KEYS && oldest !== undefined) this.#nearest.delete(oldest)
    return peers
  }
}

/**
 * Coordinators of whom one is connected: a node on the way may name peers that do not exist, and nearer ones than all others.
 * @param connected the nearest of those, nearest first
 */
function withOneOf(connected: readonly PeerId[], peers: readonly PeerId[]): readonly PeerId[] {
  const [first] = connected
  if (first === undefined || peers.some((peer) => connected.includes(peer))) return peers
  return [...peers.slice(0, COORDINATORS - 1), first]
}
