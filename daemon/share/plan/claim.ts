import type { BlobId, PeerId, Want } from './messages.ts'

/** Somebody who fetches the blob. */
export interface Member {
  readonly peer: PeerId
  brought: number
  wish: Want['wish']
  heardAt: number
}

/** Who has one blob, who reads it from upstream, and who would. */
export interface Claim {
  readonly blob: BlobId
  /** Those who fetch it, the one heard of longest ago first. */
  readonly members: Map<PeerId, Member>
  /** Those of them that can read upstream. Whoever gives its turn back, or loses it, goes to the end. */
  readonly queue: Set<Member>
  /** Those of them to whom nothing comes. */
  readonly hungry: Set<Member>
  /** Names of the members. */
  readonly names: Names
  /** Those who have said that they have the blob. */
  readonly holders: Names
  /** Those who have announced it, as was told last. */
  recorded: readonly PeerId[]
  head: Member | undefined
  racer: Member | undefined
  /** When the head was granted its turn, or brought a chunk last; in ms. */
  headAt: number
  racerAt: number
  /** How long the head may take for a chunk, in ms: longer after each race in vain, as then it is upstream that takes its time. */
  patience: number
}

export function newClaim(blob: BlobId, patience: number, now: number): Claim {
  return {
    blob,
    members: new Map(),
    queue: new Set(),
    hungry: new Set(),
    names: new Names(),
    holders: new Names(),
    recorded: [],
    head: undefined,
    racer: undefined,
    headAt: now,
    racerAt: now,
    patience,
  }
}

/** Peers of whom some are drawn at random, in a time that does not grow with their number. */
class Names {
  readonly #peers: PeerId[] = []
  readonly #at = new Map<PeerId, number>()

  get size(): number {
    return this.#peers.length
  }

  /** One that has been here for long. */
  get oldest(): PeerId | undefined {
    return this.#peers[0]
  }

  has(peer: PeerId): boolean {
    return this.#at.has(peer)
  }

  add(peer: PeerId): void {
    if (this.#at.has(peer)) return
    this.#at.set(peer, this.#peers.length)
    this.#peers.push(peer)
  }

  /** @returns whether it was there */
  delete(peer: PeerId): boolean {
    const at = this.#at.get(peer)
    if (at === undefined) return false
    this.#swap(at, this.#peers.length - 1)
    this.#peers.pop()
    this.#at.delete(peer)
    return true
  }

  /** All, in a random order, drawn as they are asked for. Nothing may be added or deleted meanwhile. */
  *drawn(random: () => number): Generator<PeerId, void> {
    for (let at = 0; at < this.#peers.length; at++) {
      this.#swap(at, at + Math.floor(random() * (this.#peers.length - at)))
      yield this.#peers[at] ?? ''
    }
  }

  #swap(one: number, other: number): void {
    const [a, b] = [this.#peers[one], this.#peers[other]]
    if (a === undefined || b === undefined) return
    this.#peers[one] = b
    this.#peers[other] = a
    this.#at.set(b, one)
    this.#at.set(a, other)
  }
}

/**
 * Peers that are told to somebody: the head, then up to a half of them such as have the blob, then others that fetch it, and if there
 * are too few of those more that have it. Announced ones may be gone, and all who ask at once would come to the same few.
 */
export function nameFor(
  { head, holders, recorded, names, members }: Claim,
  asker: PeerId,
  count: number,
  random: () => number,
): PeerId[] {
  const named = new Set<PeerId>()
  const add = (peers: Iterable<PeerId>, most: number) => {
    for (const peer of peers) {
      if (named.size >= most) return
      if (peer !== asker) named.add(peer)
    }
  }
  if (head !== undefined) add([head.peer], count)
  const announced = new Names()
  for (const peer of recorded) if (!members.has(peer)) announced.add(peer)
  const half = named.size + Math.ceil((count - named.size) / 2)
  add(holders.drawn(random), half)
  add(announced.drawn(random), half)
  add(names.drawn(random), count)
  add(holders.drawn(random), count)
  add(announced.drawn(random), count)
  return [...named]
}
