import type { Stream } from '@libp2p/interface'
import type { Logger } from 'pino'
import type { Digest } from '../../../proxy/oci/digest.ts'
import { PEERS_TO_ASK } from '../find/constants.ts'
import { KeySpace } from '../find/key-space.ts'
import { Requests } from '../find/requests.ts'
import type { PeerId } from '../ports.ts'
import { hashOf, multihashOf } from '../router/cid.ts'
import { MAX_RECORDS_OF_PEER } from '../router/constants.ts'
import { Pauses } from '../router/pauses.ts'
import { ANSWER_TIMEOUT_MS, LONGEST_WAIT_MS, MAX_KEYS, MAX_TAKEN_BACK } from './constants.ts'
import { Link } from './link.ts'
import { type AnnounceAnswer, decodeAnswer, encodeAnnouncement, type Kind } from './message.ts'

interface PeerPublisherOptions {
  readonly openStream: (peer: PeerId, signal: AbortSignal) => Promise<Stream>
  /** All blobs that this node announces; read as it goes. */
  readonly shared: ReadonlySet<Digest>
  /** Whether the swarm is larger than what this node sees of it: blobs are announced by other ways then. */
  readonly isLarge: () => boolean
  readonly log: Logger
}

/**
 * Tells connected peers which blobs this node has: each blob to the peers nearest to its key, which are those that a lookup
 * asks. What changes is told at once. A peer that connects, and now and then every peer, is told of all that it is near to:
 * one peer after the other, and at a tenth of a core. Who has that already finds it out without writing.
 */
export class PeerPublisher {
  readonly #options: PeerPublisherOptions
  readonly #requests: Requests<AnnounceAnswer>
  readonly #links = new Map<PeerId, Link>()
  readonly #space = new KeySpace()
  /** The latest, oldest first: a peer that was away still has its records of them. */
  readonly #takenBack = new Set<Digest>()
  readonly #pauses = new Pauses()
  #rounds: Promise<void> = Promise.resolve()
  /** Whose round is under way. */
  #told: Link | undefined

  constructor(options: PeerPublisherOptions) {
    this.#options = options
    const { openStream } = options
    this.#requests = new Requests({ openStream, decode: decodeAnswer, patienceMs: ANSWER_TIMEOUT_MS })
  }

  /** Changes that the peer which is furthest behind has not been told of; all blobs, where it waits for a round. */
  get queued(): number {
    return Math.max(0, ...[...this.#links.values()].map((link) => this.#left(link)))
  }

  start(): void {
    this.#rounds = this.#work()
  }

  async stop(): Promise<void> {
    this.#pauses.stop()
    for (const peer of [...this.#links.keys()]) this.disconnected(peer)
    await this.#rounds
  }

  /** To be called when requests can be sent to a peer. */
  connected(peer: PeerId): void {
    if (this.#links.has(peer) || this.#pauses.stopped.aborted) return
    const link = new Link((kind, digests) => this.#tell(peer, kind, digests))
    this.#links.set(peer, link)
    this.#space.add(peer)
    if (!this.#options.isLarge()) for (const digest of this.#takenBack) link.push('withdraw', digest)
    this.#pauses.wake()
  }

  disconnected(peer: PeerId): void {
    this.#links.get(peer)?.close()
    this.#links.delete(peer)
    this.#space.delete(peer)
    this.#requests.forget(peer)
  }

  /** A blob is there. */
  place(digest: Digest): void {
    this.#takenBack.delete(digest)
    if (this.#options.isLarge()) return
    for (const peer of this.#space.nearest(multihashOf(hashOf(digest)), PEERS_TO_ASK)) {
      this.#links.get(peer)?.push('place', digest)
    }
  }

  /** A blob goes. Other peers may have been nearest to it before, so all are told. */
  withdraw(digest: Digest): void {
    this.#takenBack.add(digest)
    const [oldest] = this.#takenBack
    if (this.#takenBack.size > MAX_TAKEN_BACK && oldest !== undefined) this.#takenBack.delete(oldest)
    if (!this.#options.isLarge()) for (const link of this.#links.values()) link.push('withdraw', digest)
  }

  /** Tells every peer of everything once more. */
  refresh(): void {
    for (const link of this.#links.values()) link.wantAll()
    this.#pauses.wake()
  }

  #left(link: Link): number {
    return link.wantsAll || link === this.#told ? this.#options.shared.size + link.pending : link.pending
  }

  async #work(): Promise<void> {
    while (!this.#pauses.stopped.aborted) {
      const wake = this.#pauses.woken
      const waiting = [...this.#links].filter(([, link]) => link.wantsAll)
      const [next] = waiting.filter(([, link]) => link.pauseMs === 0)
      if (next === undefined) {
        const pause = Math.min(LONGEST_WAIT_MS, ...waiting.map(([, link]) => link.pauseMs))
        await this.#pauses.take(pause, wake)
        continue
      }
      const [peer, link] = next
      this.#told = link
      await this.#tellAll(peer, link)
      this.#told = undefined
    }
  }

  async #tellAll(peer: PeerId, link: Link): Promise<void> {
    link.beginAll()
    let told = 0
    try {
      for (const digests of this.#near(peer)) {
        if (link.signal.aborted) return
        const started = performance.now()
        if (digests.length > 0) await link.send('place', digests)
        told += digests.length
        if (told >= MAX_RECORDS_OF_PEER) break
        await this.#pauses.after(started, link.signal)
      }
      if (told > 0) this.#options.log.debug({ peer, blobs: told }, 'a peer was told of all blobs')
    } catch (error) {
      link.wantAll()
      this.#options.log.debug({ peer, told, err: error }, 'a peer was not told of all blobs; trying again later')
    }
  }

  /** Blobs that a peer is near to, in parts that a message can hold. Those that are taken back meanwhile are left out. */
  *#near(peer: PeerId): Generator<readonly Digest[], void> {
    let part: Digest[] = []
    let looked = 0
    if (this.#options.isLarge()) return
    for (const digest of this.#options.shared) {
      if (this.#space.isNear(peer, multihashOf(hashOf(digest)), PEERS_TO_ASK)) part.push(digest)
      looked++
      if (looked % MAX_KEYS !== 0) continue
      yield part
      part = []
    }
    yield part
  }

  async #tell(peer: PeerId, kind: Kind, digests: readonly Digest[]): Promise<void> {
    const keys = digests.map(hashOf)
    const late = Promise.withResolvers<never>()
    const timer = setTimeout(() => late.reject(new Error('no answer in time')), ANSWER_TIMEOUT_MS)
    try {
      const answer = this.#requests.ask(peer, (id) => encodeAnnouncement({ id, kind, keys }))
      const { taken } = await Promise.race([answer, late.promise])
      if (kind === 'place' && taken < keys.length) {
        this.#options.log.debug({ peer, sent: keys.length, taken }, 'a peer has no room for more of our records')
      }
    } finally {
      clearTimeout(timer)
    }
  }
}
