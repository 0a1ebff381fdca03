import { decode } from 'cborg'
import type { AnnouncedRecords } from '../announce/server.ts'
import { KEY_BYTES } from '../find/constants.ts'
import { distanceOf, positionOf, positionOfPeer } from '../find/key-space.ts'
import type { PeerId, ShareListener } from '../ports.ts'
import { asTheyArrive } from '../router/arrivals.ts'
import { multihashOf } from '../router/cid.ts'
import type { ProviderRecords } from '../router/records.ts'
import { COPIES, MAX_ADDRESSES, MAX_PASSED_ON, MAX_PROVIDERS, NEXT_ASKED, NEXT_MS } from './constants.ts'
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
  readonly listener: Pick<ShareListener, 'claim'>
}

interface Surroundings extends AnswersOptions {
  /** Connected peers, and where they are. */
  readonly peers: ReadonlyMap<PeerId, number>
  /** Whether nothing comes from a peer although something is waited for. */
  readonly isSilent: (peer: PeerId) => boolean
  /** Asks a connected peer. Never rejects. */
  readonly ask: (peer: PeerId, ask: Ask, hops: number) => Promise<Answer | undefined>
}

type AnnounceAsk = Extract<Ask, { kind: 'announce' }>
type TellAsk = Extract<Ask, { kind: 'tell' }>

export const UNREACHABLE: Answer = { kind: 'no', reason: 'unreachable' }

/** What a node answers to requests that end at it. */
export class Answers {
  readonly #options: Surroundings
  readonly #numbers = new Numbers()

  constructor(options: Surroundings) {
    this.#options = options
  }

  /** The answer of this node, as the nearest one; or to whoever asks this very node, where `hops` is 0. */
  async answer(ask: Ask, hops: number): Promise<Answer> {
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
        return await this.#take(ask, hops)
      case 'tell':
        return this.#hear(ask)
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
  async #take(ask: AnnounceAsk, hops: number): Promise<Answer> {
    const refusal = this.#refusalOf(ask)
    if (refusal !== undefined) return refusal
    const { self, announced } = this.#options
    const all = keysOf(ask).slice(0, ask.first)
    const near = all.map((key) => this.#near(positionOf(multihashOf(key)), COPIES))
    if (hops === 0) {
      const keys = all.filter((_, index) => near[index]?.includes(self))
      return { kind: 'taken', taken: keys.length === 0 ? 0 : await announced[ask.action](ask.origin, keys) }
    }
    const end = near.findIndex(([nearest], index) => index > 0 && nearest !== self)
    const keys = end < 0 ? all : all.slice(0, end)
    await announced[ask.action](ask.origin, keys)
    const others = new Set(near.slice(0, keys.length).flat())
    others.delete(self)
    const copy = { ...ask, first: keys.length }
    for (const peer of [...others].slice(0, MAX_PASSED_ON)) void this.#options.ask(peer, copy, 0)
    return { kind: 'taken', taken: keys.length }
  }

  #hear(ask: TellAsk): Answer {
    const { self, listener } = this.#options
    if (ask.peer !== self) return UNREACHABLE
    const refusal = this.#refusalOf(ask)
    if (refusal !== undefined) return refusal
    try {
      listener.claim(ask.origin, decode(ask.payload))
    } catch {
      // It is malformed. Whoever has passed it on is not to blame.
      return { kind: 'no', reason: 'refused' }
    }
    return { kind: 'taken', taken: 1 }
  }

  /** Why nothing is taken from whoever is named as the origin. */
  #refusalOf(ask: AnnounceAsk | TellAsk): Answer | undefined {
    const { admits, self } = this.#options
    const isOwn = ask.origin === self
    if ((!isOwn && !admits(ask.origin)) || !isSigned(ask)) return { kind: 'no', reason: 'refused' }
    const last = this.#numbers.take(ask)
    return last === undefined ? undefined : { kind: 'no', reason: 'old', last }
  }
}

function keysOf({ keys }: AnnounceAsk): readonly Uint8Array[] {
  return Array.from({ length: keys.length / KEY_BYTES }, (_, index) =>
    keys.subarray(index * KEY_BYTES, (index + 1) * KEY_BYTES),
  )
}
