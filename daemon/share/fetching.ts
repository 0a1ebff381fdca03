import type { PeerId } from '../swarm/ports.ts'
import { quartersPerChunk } from '../verify/quarter.ts'
import type { SharedEntry } from './entry.ts'
import type { Fetching } from './local-blob.ts'
import type { Event } from './plan/steps.ts'

/** What a fetch's hold can do with its entry. */
export interface EntryHost {
  readonly isBehind: boolean
  isCurrent(entry: SharedEntry): boolean
  step(event: Event): void
  /** A quarter is verified that no answer brought. */
  report(entry: SharedEntry, quarter: number): void
  /** The size is known: peers are told. */
  begin(entry: SharedEntry, size: number, held: Iterable<number>): void
  restart(entry: SharedEntry, held: Iterable<number>): void
  /** More of what peers told can be verified. */
  usable(entry: SharedEntry): void
  follow(entry: SharedEntry, peer: PeerId, isFollowed: boolean): void
  name(entry: SharedEntry, peers: Iterable<PeerId>): void
  expects(entry: SharedEntry, chunk?: number): boolean
  awaitsAnswer(entry: SharedEntry): boolean
  end(entry: SharedEntry, isHeld: boolean): void
}

/** A fetch's hold on the swarm. After its end, or when another fetch has taken its place, it does nothing. */
export class EntryFetching implements Fetching {
  readonly #entry: SharedEntry
  readonly #host: EntryHost

  constructor(entry: SharedEntry, host: EntryHost) {
    this.#entry = entry
    this.#host = host
  }

  get peers(): number {
    return this.#entry.peers.size
  }

  get isBehind(): boolean {
    return this.#host.isBehind
  }

  get isPromising(): boolean {
    return this.#host.expects(this.#entry) || this.#host.awaitsAnswer(this.#entry)
  }

  expects(quarter: number): boolean {
    return this.#host.expects(this.#entry, Math.floor(quarter / quartersPerChunk))
  }

  sized(size: number, held: Iterable<number>): void {
    if (this.#isCurrent) this.#host.begin(this.#entry, size, held)
  }

  held(quarter: number): void {
    if (this.#isCurrent) this.#host.report(this.#entry, quarter)
  }

  raw(chunk: number): void {
    this.#step({ kind: 'raw', blob: this.#entry.digest, chunk })
  }

  lost(held: Iterable<number>): void {
    if (this.#isCurrent) this.#host.restart(this.#entry, held)
  }

  listGrew(): void {
    if (this.#isCurrent) this.#host.usable(this.#entry)
  }

  follow(peer: PeerId, isFollowed: boolean): void {
    if (this.#isCurrent) this.#host.follow(this.#entry, peer, isFollowed)
  }

  readable(isReadable: boolean): void {
    this.#step({ kind: isReadable ? 'readable' : 'unreadable', blob: this.#entry.digest })
  }

  alone(): void {
    this.#entry.isAlone = true
    this.#step({ kind: 'alone', blob: this.#entry.digest })
  }

  urgent(quarters: readonly number[]): void {
    const chunks = [...new Set(quarters.map((quarter) => Math.floor(quarter / quartersPerChunk)))]
    this.#step({ kind: 'urgent', blob: this.#entry.digest, chunks })
  }

  named(peers: Iterable<PeerId>): void {
    if (this.#isCurrent) this.#host.name(this.#entry, peers)
  }

  end(isHeld: boolean): void {
    if (this.#isCurrent) this.#host.end(this.#entry, isHeld)
  }

  get #isCurrent(): boolean {
    return this.#host.isCurrent(this.#entry)
  }

  #step(event: Event): void {
    if (this.#isCurrent) this.#host.step(event)
  }
}
