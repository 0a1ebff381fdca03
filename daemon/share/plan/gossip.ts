import type { PlannedBlob } from './blob.ts'
import type { BlobId, News, PeerId } from './messages.ts'
import type { Neighbour } from './neighbour.ts'
import { Spares } from './spares.ts'
import type { State } from './state.ts'

/** A message is answered with no more refusals than this: honest peers name the blobs of an image. It protects, and tunes nothing. */
const MAX_BYES = 256

/** Who is a neighbour, and what neighbours are told between questions and answers. */
export class Gossip {
  readonly #state: State
  /** Whoever may not have been told of a blob in which both take part. */
  readonly #met = new Set<Neighbour>()
  readonly #spares: Spares

  /** @param onPart a peer is to be no neighbour for a blob any more */
  constructor(state: State, onPart: (blob: PlannedBlob, peer: PeerId) => void) {
    this.#state = state
    this.#spares = new Spares(state, { onMeet: (blob, peer) => this.#meet(state.neighbour(peer), blob), onPart })
  }

  /** When {@link exchange} and {@link look} are to be called, in ms. */
  get wakeAt(): number {
    return Math.min(this.#newsAt, this.#spares.wakeAt)
  }

  get #newsAt(): number {
    const { hasNews, toldAt, newsInterval, numbers } = this.#state
    return hasNews ? toldAt + newsInterval / numbers.newsRounds : Number.POSITIVE_INFINITY
  }

  /** Tells neighbours that lack something what is new; each one when it was told nothing for the interval. */
  look(): void {
    const state = this.#state
    const { now, newsInterval } = state
    if (now < this.#newsAt) return
    state.hasNews = false
    state.toldAt = now
    for (const neighbour of state.neighbours.values()) {
      if (now < neighbour.toldAt + newsInterval) state.hasNews = true
      else if (neighbour.lacks && this.#isNews(neighbour)) this.#tell(neighbour)
    }
  }

  /** Peers take part in a blob, or have it. */
  named(id: BlobId, peers: readonly PeerId[]): void {
    const state = this.#state
    const blob = state.blobs.get(id)
    if (blob === undefined || blob.isAlone) return
    const { soughtNeighbours, mostNeighbours } = state.numbers
    for (const peer of peers) {
      // Whoever brings chunks from other sites has neighbours there besides those of its own.
      const isBeside = blob.leftToSite !== 'all' && state.isFar?.(peer)
      if (blob.neighbours >= (isBeside ? mostNeighbours : soughtNeighbours)) this.#spares.add(blob, peer)
      else this.#meet(state.neighbour(peer), blob)
    }
  }

  /** A neighbour, or a peer that would like to be one, has told something. */
  heard(from: PeerId, news: News): void {
    const state = this.#state
    let byes = 0
    for (const { blob: id } of news.blobs) {
      if (state.neighbours.get(from)?.views.has(id)) continue
      const blob = state.blobs.get(id)
      if (blob !== undefined && !blob.isAlone && blob.neighbours < state.numbers.mostNeighbours)
        this.#meet(state.neighbour(from), blob)
      else if (byes++ < MAX_BYES) state.effects.push({ kind: 'send', to: from, message: { kind: 'bye', blob: id } })
    }
    const neighbour = state.neighbours.get(from)
    if (neighbour !== undefined) state.hear(neighbour, news)
  }

  /** Makes room for peers that were named, where nothing comes of a blob. */
  exchange(): void {
    this.#spares.look()
  }

  /** Tells those who are neighbours for a blob since this step all that is held of it, unless a question or an answer just did. */
  introduce(): void {
    for (const neighbour of this.#met) if (this.#isUntold(neighbour)) this.#tell(neighbour)
    this.#met.clear()
  }

  #meet(neighbour: Neighbour, blob: PlannedBlob): void {
    neighbour.view(blob)
    this.#met.add(neighbour)
  }

  #isUntold({ views }: Neighbour): boolean {
    for (const { cursor } of views.values()) if (cursor < 0) return true
    return false
  }

  #isNews({ views, toldFree }: Neighbour): boolean {
    if (this.#state.free > 0 && toldFree <= 0) return true
    for (const { cursor, blob } of views.values()) if (cursor !== blob.log.length) return true
    return false
  }

  #tell(neighbour: Neighbour): void {
    this.#state.send(neighbour, { kind: 'news', news: this.#state.newsFor(neighbour) })
  }
}
