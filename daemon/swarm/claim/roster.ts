import type { PeerId } from '../peer-id.ts'

/**
 * Peers that stay for the same time each, unless they are added again. However many they are, it costs the same to add one,
 * and to draw some at random.
 */
export class Roster {
  readonly #ms: number
  /** The one that was added longest ago first. */
  readonly #entries = new Map<PeerId, { readonly until: number; place: number }>()
  /** In no order. */
  readonly #places: PeerId[] = []

  /** @param ms how long a peer stays */
  constructor(ms: number) {
    this.#ms = ms
  }

  get size(): number {
    return this.#entries.size
  }

  /** The peer that was added longest ago. */
  get oldest(): PeerId | undefined {
    return this.#entries.keys().next().value
  }

  has(peer: PeerId): boolean {
    return this.#entries.has(peer)
  }

  [Symbol.iterator](): IterableIterator<PeerId> {
    return this.#entries.keys()
  }

  /** Adds a peer, or lets it stay for longer. */
  add(peer: PeerId, now: number): void {
    const place = this.#entries.get(peer)?.place ?? this.#places.push(peer) - 1
    this.#entries.delete(peer)
    this.#entries.set(peer, { until: now + this.#ms, place })
  }

  delete(peer: PeerId): void {
    const entry = this.#entries.get(peer)
    if (entry === undefined) return
    this.#swap(entry.place, this.#places.length - 1)
    this.#places.pop()
    this.#entries.delete(peer)
  }

  /** Those whose time is over. */
  expired(now: number): readonly PeerId[] {
    const found: PeerId[] = []
    for (const [peer, { until }] of this.#entries) {
      if (until >= now) break
      found.push(peer)
    }
    return found
  }

  /** Up to so many, each once. */
  sample(count: number, random: () => number): PeerId[] {
    const wanted = Math.min(count, this.#places.length)
    // the last one of all has only its own place left
    for (let place = 0; place < Math.min(wanted, this.#places.length - 1); place++) {
      this.#swap(place, place + Math.floor(random() * (this.#places.length - place)))
    }
    return this.#places.slice(0, wanted)
  }

  #swap(one: number, other: number): void {
    const [first, second] = [this.#places[one], this.#places[other]]
    if (first === undefined || second === undefined) return
    this.#put(second, one)
    this.#put(first, other)
  }

  #put(peer: PeerId, place: number): void {
    this.#places[place] = peer
    const entry = this.#entries.get(peer)
    if (entry !== undefined) entry.place = place
  }
}
