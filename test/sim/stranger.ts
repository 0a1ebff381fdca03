import type { Message, PeerId } from '../../daemon/share/plan/messages.ts'
import type { Peer, World } from './world.ts'

/**
 * - `staller`: says that it has everything, takes questions and sends nothing
 * - `false-head`: takes part, reads nothing from upstream, and says nothing to other nodes
 * - `silent`: says nothing to other nodes
 */
export type StrangerKind = 'staller' | 'false-head' | 'silent'

/** A peer that is of no use. */
export class Stranger implements Peer {
  readonly #world: World
  readonly #id: PeerId
  readonly #kind: StrangerKind

  constructor(world: World, id: PeerId, kind: StrangerKind) {
    this.#world = world
    this.#id = id
    this.#kind = kind
  }

  /** Asks the coordinator as others do, again and again. */
  start(): void {
    const { coordinator, scenario } = this.#world
    const wish = this.#kind === 'staller' ? 'done' : 'part'
    const wants = scenario.blobs.map((_, index) => ({ blob: String(index), brought: 0, wish, sought: 0 }) as const)
    coordinator?.wants(this.#id, wants)
    this.#world.after(scenario.numbers.renewMs, () => this.start())
  }

  hear(from: PeerId, message: Message): void {
    if (this.#kind !== 'staller') return
    const { scenario } = this.#world
    if (message.kind === 'news') this.#boast(from)
    else if (message.kind === 'ask') this.#world.after(scenario.numbers.newsMs, () => this.#boast(from))
  }

  turns(): void {}

  #boast(to: PeerId): void {
    const { scenario, peers } = this.#world
    const blobs = scenario.blobs.map((chunks, index) => {
      return { blob: String(index), log: Array.from({ length: chunks }, (_, chunk) => ~chunk) }
    })
    const news = { free: scenario.numbers.places, blobs }
    this.#world.after(scenario.latency, () => peers.get(to)?.hear(this.#id, { kind: 'news', news }))
  }
}
