import type { Turn, Want } from '../../daemon/share/plan/messages.ts'
import { ClaimQueue, type QueueEvent } from '../../daemon/share/plan/queue.ts'
import type { World } from './world.ts'

/** The coordinators of all blobs in one: the product's queue, behind simulated messages. */
export class Coordinator {
  readonly #world: World
  readonly #queue: ClaimQueue
  readonly #recorded = new Map<string, readonly string[]>()
  #wakeAt = Number.POSITIVE_INFINITY

  constructor(world: World) {
    this.#world = world
    const { numbers, isRecorded, holders, blobs } = world.scenario
    this.#queue = new ClaimQueue(numbers, world.random, (peer) => world.siteOf(peer))
    if (!isRecorded) return
    const peers = Array.from({ length: holders }, (_, index) => `holder-${index}`)
    for (const index of blobs.keys()) this.#recorded.set(String(index), peers)
  }

  wants(from: string, wants: readonly Want[]): void {
    this.#step({ kind: 'wants', from, wants, recorded: this.#recorded })
  }

  left(peer: string): void {
    this.#step({ kind: 'left', peer })
  }

  #step(event: QueueEvent): void {
    const world = this.#world
    const turns = new Map<string, Turn[]>()
    for (const { to, turn: right } of this.#queue.step(event, world.now)) {
      const turn = world.scenario.isLyingCoordinator ? { ...right, role: 'none' as const } : right
      turns.set(to, [...(turns.get(to) ?? []), turn])
    }
    world.counters.turns += turns.size
    for (const [to, told] of turns) world.after(world.scenario.latency, () => world.peers.get(to)?.turns(told))
    const at = this.#queue.wakeAt
    if (at >= this.#wakeAt) return
    this.#wakeAt = at
    world.after(Math.max(0, at - world.now), () => {
      if (this.#wakeAt !== at) return
      this.#wakeAt = Number.POSITIVE_INFINITY
      this.#step({ kind: 'wake' })
    })
  }
}
