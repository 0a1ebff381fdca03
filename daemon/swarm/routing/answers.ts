import { decode } from 'cborg'
import type { AnnouncedRecords } from '../announce/server.ts'
import { KEY_BYTES } from '../find/constants.ts'
import { distanceOf, positionOf, positionOfPeer } from '../find/key-space.ts'
import type { PeerId, ShareListener } from '../ports.ts'
import { asTheyArrive } from '../router/arrivals.ts'
import { multihashOf } from '../router/cid.ts'
import type { ProviderRecords } from '../router/records.ts'
import { COPIES, MAX_ADDRESSES, MAX_PASSED_ON, MAX_PROVIDERS, NEXT_ASKED, NEXT_MS } from './constants.ts'
import { Load, takeCost } from './load.ts'
import type { Answer, Ask } from './message.ts'
import { isSigned, Numbers } from './signature.ts'

/** What the node that a request ends at needs. */
export interface AnswersOptions {
  readonly self: PeerId
  /** Where this node or a connected peer can be dialled. */
  readonly addressesOf: (peer: PeerId) => readonly string[]
  /** Whether anything is taken from a peer. */
  readonly admits: (peer: PeerId) => boolean
  /** Whether blobs can be had of a peer: one of which they can't keeps no records and coordinates nothing. */
  readonly canGive: (peer: PeerId) => boolean
  readonly records: Pick<ProviderRecords, 'local'>
  readonly announced: AnnouncedRecords
  /** Whether the swarm is larger than this node's connections. */
  readonly isLarge: () => boolean
  readonly listener: Pick<ShareListener, 'claim'>
}

interface Surroundings extends AnswersOptions {
  /** Connected peers, and where they are. */
  readonly peers: ReadonlyMap<PeerId, number>
  /** Whether nothing comes from a peer although something is waited for. */
  readonly isSilent: (peer: PeerId) => boolean
  /** Asks a connected peer for somebody else. Never rejects. */
  readonly ask: (peer: PeerId, ask: Ask, hops: number) => Promise<Answer | undefined>
}

type AnnounceAsk = Extract<Ask, { kind: 'announce' }>
type TellAsk = Extract<Ask, { kind: 'tell' }>

export const UNREACHABLE: Answer = { kind: 'no', reason: 'unreachable' }
export const BUSY: Answer = { kind: 'no', reason: 'busy' }
const REFUSED: Answer = { kind: 'no', reason: 'refused' }

/** What a node answers to requests that end at it. */
export class Answers {
  readonly #options: Surroundings
  readonly #numbers = new Numbers()
  /** By whoever this node has a request from. */
  readonly #load = new Load()

  constructor(options: Surroundings) {
    this.#options = options
  }

  /**
   * The answer of this node, as the nearest one; or to whoever asks this very node, where `hops` is 0.
   * @param from the connected peer that the request comes from, or this node
   */
  async answer(ask: Ask, hops: number, from: PeerId): Promise<Answer> {
    if (from !== this.#options.self && !this.#load.take(from, takeCost(ask))) return BUSY
    switch (ask.kind) {
      case 'nearest':
        return { kind: 'peers', peers: this.#near(ask.to, ask.count, ask.without).map((peer) => this.#found(peer)) }
      case 'where':
        return ask.peer === this.#options.self || this.#options.peers.has(ask.peer)
          ? { kind: 'peers', peers: [this.#found(ask.peer)] }
          : UNREACHABLE
      case 'find':
        return {
          kind: 'providers',
          providers: [...(await this.#recorded(ask.key, ask.to, hops))].slice(0, MAX_PROVIDERS),
        }
      case 'announce':
        return await this.#take(ask, hops, from)
      case 'tell':
        return this.#hear(ask, from)
    }
  }

  /** Of this node and the connected peers those nearest to a position, of whom blobs can be had. */
  #near(to: number, count: number, without?: PeerId): readonly PeerId[] {
    const { self, peers, canGive, isSilent } = this.#options
    const canKeep = (peer: PeerId) => peer === self || (canGive(peer) && !isSilent(peer))
    return [[self, positionOfPeer(self)] as const, ...peers]
      .filter(([peer]) => peer !== without && canKeep(peer))
      .map(([peer, position]) => ({ peer, distance: distanceOf(position, to) }))
      .sort((a, b) => a.distance - b.distance)
      .slice(0, count)
      .map(({ peer }) => peer)
  }

  #found(peer: PeerId): { peer: PeerId; addresses: string[] } {
    return { peer, addresses: this.#options.addressesOf(peer).slice(0, MAX_ADDRESSES) }
  }

  /** Who has a blob, as is recorded here; where nothing is, as the next nearest have recorded. */
  async #recorded(key: Uint8Array, to: number, hops: number): Promise<readonly PeerId[]> {
    const { self, records } = this.#options
    const own = await records.local(key, MAX_PROVIDERS)
    if (own.length > 0 || hops === 0) return own
    const others = this.#near(to, NEXT_ASKED, self)
    const answers = others.map((peer) => this.#options.ask(peer, { kind: 'find', to, key }, 0))
    for await (const answer of asTheyArrive(answers, NEXT_MS, AbortSignal.timeout(NEXT_MS)))
      if (answer?.kind === 'providers' && answer.providers.length > 0) return answer.providers
    return []
  }

  /** An announcement has come to the nearest node, or as a copy to one of the next nearest. */
  async #take(ask: AnnounceAsk, hops: number, from: PeerId): Promise<Answer> {
    const refusal = this.#refusalOf(ask, from)
    if (refusal !== undefined) return refusal
    const { self, announced } = this.#options
    const isCopy = hops === 0
    const keys: Uint8Array[] = []
    const others = new Set<PeerId>()
    for (const key of keysOf(ask).slice(0, ask.first)) {
      const near = this.#near(positionOf(multihashOf(key)), COPIES)
      // The origin sends the rest to another node.
      if (!isCopy && keys.length > 0 && near[0] !== self) break
      if (isCopy && !near.includes(self)) continue
      keys.push(key)
      for (const peer of near) others.add(peer)
    }
    const taken = keys.length === 0 ? 0 : await announced[ask.action](ask.origin, keys)
    if (isCopy) return { kind: 'taken', taken }
    others.delete(self)
    const copy = { ...ask, first: keys.length }
    for (const peer of [...others].slice(0, MAX_PASSED_ON)) void this.#options.ask(peer, copy, 0)
    return { kind: 'taken', taken: keys.length }
  }

  #hear(ask: TellAsk, from: PeerId): Answer {
    const { self, listener } = this.#options
    if (ask.peer !== self) return UNREACHABLE
    const refusal = this.#refusalOf(ask, from)
    if (refusal !== undefined) return refusal
    try {
      listener.claim(ask.origin, decode(ask.payload))
    } catch {
      // It is malformed. Whoever has passed it on is not to blame.
      return REFUSED
    }
    return { kind: 'taken', taken: 1 }
  }

  /**
   * Why nothing is taken from whoever is named as the origin. Anybody can make keys, and so origins, at no cost. A connection costs
   * something: in a small swarm all nodes have one, and in a large one each peer may bring some origins at a time.
   */
  #refusalOf(ask: AnnounceAsk | TellAsk, from: PeerId): Answer | undefined {
    const { admits, self, peers, isLarge } = this.#options
    const isKnown = ask.origin === self || (admits(ask.origin) && (isLarge() || peers.has(ask.origin)))
    if (!isKnown || !isSigned(ask)) return REFUSED
    if (!this.#numbers.isRoomFor(ask.origin, from)) return BUSY
    const last = this.#numbers.take(ask, from)
    return last === undefined ? undefined : { kind: 'no', reason: 'old', last }
  }
}

function keysOf({ keys }: AnnounceAsk): readonly Uint8Array[] {
  return Array.from({ length: keys.length / KEY_BYTES }, (_, index) =>
    keys.subarray(index * KEY_BYTES, (index + 1) * KEY_BYTES),
  )
}
