import type { BlobId, News, PeerId } from './messages.ts'
import type { Neighbour } from './neighbour.ts'
import type { State } from './state.ts'

/** Who is a neighbour, and what neighbours are told between questions and answers. */
export class Gossip {
  readonly #state: State

  constructor(state: State) {
    this.#state = state
  }

  /** When {@link look} is to be called, in ms. */
  get wakeAt(): number {
    const { hasNews, toldAt, newsInterval, numbers } = this.#state
    return hasNews ? toldAt + newsInterval / numbers.newsRounds : Number.POSITIVE_INFINITY
  }

  /** Tells neighbours that lack something what is new; each one when it was told nothing for the interval. */
  look(): void {
    const state = this.#state
    const { now, newsInterval } = state
    if (now < this.wakeAt) return
    state.hasNews = false
    state.toldAt = now
    for (const neighbour of state.neighbours.values()) {
      if (now < neighbour.toldAt + newsInterval) state.hasNews = true
      else if (neighbour.lacks && this.#isNews(neighbour)) this.#tell(neighbour)
    }
  }

  /** The coordinator names peers that take part in a blob. */
  named(id: BlobId, peers: readonly PeerId[]): void {
    const state = this.#state
    const blob = state.blobs.get(id)
    if (blob === undefined) return
    let room = state.numbers.soughtNeighbours - state.countFor(id)
    for (const peer of peers) {
      if (room <= 0) return
      const neighbour = state.neighbour(peer)
      if (neighbour.views.has(id)) continue
      neighbour.view(blob)
      this.#tell(neighbour)
      room--
    }
  }

  /** A neighbour, or a peer that would like to be one, has told something. */
  heard(from: PeerId, news: News): void {
    const state = this.#state
    const known = state.neighbours.get(from)
    let isNew = false
    for (const { blob: id } of news.blobs) {
      const blob = state.blobs.get(id)
      if (known?.views.has(id)) continue
      if (blob !== undefined && state.countFor(id) < state.numbers.mostNeighbours) {
        state.neighbour(from).view(blob)
        isNew = true
      } else state.effects.push({ kind: 'send', to: from, message: { kind: 'bye', blob: id } })
    }
    const neighbour = state.neighbours.get(from)
    if (neighbour === undefined) return
    state.hear(neighbour, news)
    if (isNew) this.#tell(neighbour)
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
