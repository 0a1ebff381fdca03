import { type Giving, holdingOf, Ledger, type Moment } from './ledger.ts'
import { UPSTREAM } from './troubles.ts'
import type { UpstreamEvent } from './upstream.ts'
import type { World } from './world.ts'

/** Less than this, in bytes, is not worth a line of its own in the journal. */
const WORTH_A_LINE = 2 ** 16

/** Keeps the books of what upstream gives: looks at the fleet when it is asked, and counts when it has given. */
export class Account {
  readonly ledger = new Ledger()
  /** Requests by node and kind, and their bytes. */
  readonly requests = new Map<string, { times: number; bytes: number }>()
  readonly #world: World
  readonly #asked = new Map<number, Pick<Giving, 'node' | 'digest' | 'moment'>>()

  constructor(world: World) {
    this.#world = world
  }

  hear(event: UpstreamEvent): void {
    if (event.event === 'counted') {
      const { times, bytes } = this.requests.get(event.what) ?? { times: 0, bytes: 0 }
      this.requests.set(event.what, { times: times + 1, bytes: bytes + event.bytes })
    } else if (event.event === 'asked') {
      const { id, node, digest } = event
      this.#asked.set(id, { node, digest, moment: this.#moment(digest) })
    } else {
      const asked = this.#asked.get(event.id)
      this.#asked.delete(event.id)
      if (asked === undefined) return
      const { start, bytes, isWhole } = event
      const isBroken = !isWhole || !this.#isWell(UPSTREAM)
      const again = this.ledger.add({ ...asked, start, bytes, isBroken })
      if (again === undefined || again.bytes < WORTH_A_LINE) return
      const { node, digest, moment } = asked
      this.#world.journal.note('given again', { ...again, node, digest, start, length: bytes, nodes: moment.nodes })
    }
  }

  #moment(digest: string): Moment {
    const nodes = this.#world.nodes.map((node) => ({
      name: node.name,
      isWell: this.#isWell(node.name),
      holds: holdingOf(node.dataDir, digest),
    }))
    return { isFailing: !this.#isWell(UPSTREAM), nodes }
  }

  /** Whether it had no fault for as long as one may take to settle. */
  #isWell(who: string): boolean {
    const { troubles, options } = this.#world
    return troubles.wellFor(who, performance.now()) >= options.settle * 1000
  }
}
