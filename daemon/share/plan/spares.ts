import type { PlannedBlob } from './blob.ts'
import type { BlobId, PeerId } from './messages.ts'
import type { State } from './state.ts'

/** Peers that are remembered for one blob. It protects memory, and tunes nothing. */
const MAX_SPARES = 64

interface Listeners {
  readonly onMeet: (blob: PlannedBlob, peer: PeerId) => void
  /** It is to be none of its neighbours any more. */
  readonly onPart: (blob: PlannedBlob, peer: PeerId) => void
}

/**
 * Peers that were named for a blob when it had all the neighbours that it seeks. A place among these is for whoever gives: strangers that
 * have given nothing make room for the spare ones, as soon as nothing has come from anybody for a while. So nobody can keep those who have
 * a blob away by being named in greater numbers.
 */
export class Spares {
  readonly #state: State
  readonly #listeners: Listeners
  readonly #spares = new Map<BlobId, { readonly peers: Set<PeerId>; changedAt: number }>()

  constructor(state: State, listeners: Listeners) {
    this.#state = state
    this.#listeners = listeners
  }

  /** When {@link look} is to be called, in ms. */
  get wakeAt(): number {
    let at = Number.POSITIVE_INFINITY
    for (const id of this.#spares.keys()) at = Math.min(at, this.#dueAt(id))
    return at
  }

  /** There is no room for a peer among the neighbours. In a closed swarm those that are named have the blob, and no more are needed. */
  add({ id }: PlannedBlob, peer: PeerId): void {
    if (this.#state.arrears === undefined || this.#state.neighbours.get(peer)?.views.has(id) === true) return
    const { peers } = this.#of(id)
    peers.add(peer)
    if (peers.size <= MAX_SPARES) return
    // Any of them: who is named last, and most often, has no better place than the others.
    const any = [...peers][Math.floor(this.#state.random() * peers.size)]
    if (any !== undefined) peers.delete(any)
  }

  /** Strangers that have given nothing make room. */
  look(): void {
    const { blobs, numbers, now, random } = this.#state
    for (const [id, spare] of [...this.#spares]) {
      const blob = blobs.get(id)
      if (blob === undefined || blob.isDone) this.#spares.delete(id)
      else if (now >= this.#dueAt(id)) {
        spare.changedAt = now
        const useless = this.#useless(blob)
        const room = numbers.soughtNeighbours - blob.neighbours + useless.length
        const chosen = shuffled([...spare.peers], random).slice(0, Math.max(0, room))
        for (const peer of useless.slice(0, Math.max(0, blob.neighbours + chosen.length - numbers.soughtNeighbours))) {
          this.#listeners.onPart(blob, peer)
          spare.peers.add(peer)
        }
        for (const peer of chosen) {
          spare.peers.delete(peer)
          this.#listeners.onMeet(blob, peer)
        }
      }
    }
  }

  #of(id: BlobId) {
    const spare = this.#spares.get(id) ?? { peers: new Set(), changedAt: Number.NEGATIVE_INFINITY }
    this.#spares.set(id, spare)
    return spare
  }

  /** When nothing has come of a blob for long enough. Not for as long as chunks take: those that trickle would say how long that is. */
  #dueAt(id: BlobId): number {
    const { blobs, numbers } = this.#state
    const blob = blobs.get(id)
    const spare = this.#spares.get(id)
    if (blob === undefined || spare === undefined || spare.peers.size === 0 || !blob.isWanted)
      return Number.POSITIVE_INFINITY
    return Math.max(blob.cameAt, spare.changedAt) + numbers.headLateMs
  }

  /** Neighbours that have given nothing of a blob. */
  #useless({ id }: PlannedBlob): PeerId[] {
    const useless: PeerId[] = []
    for (const { id: peer, views } of this.#state.neighbours.values())
      if (views.get(id)?.hasGiven === false) useless.push(peer)
    return shuffled(useless, this.#state.random)
  }
}

/** In another order each time. */
function shuffled<T>(all: readonly T[], random: () => number): T[] {
  return all
    .map((one) => ({ one, order: random() }))
    .sort((a, b) => a.order - b.order)
    .map(({ one }) => one)
}
