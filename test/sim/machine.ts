import { MAX_REQUESTS } from '../../daemon/fetch/download/constants.ts'
import { Slots } from '../../daemon/fetch/download/slots.ts'
import { NODE_REQUESTS } from '../../daemon/swarm/session/constants.ts'
import { LinePace } from '../../daemon/swarm/session/line-pace.ts'
import { Offers } from '../../daemon/swarm/session/offers.ts'
import { Uploads } from '../../daemon/swarm/session/uploads.ts'
import type { Fetch } from './fetch.ts'
import { Link } from './network.ts'
import { bytesPerMs } from './scenario.ts'
import type { World } from './world.ts'

export type MachineKind = 'honest' | 'liar' | 'staller'

/** How the server of the transfer protocol bounds what it sends at the same time. */
const MAX_UPLOADS = 32
const MAX_UPLOADS_TO_ONE = MAX_UPLOADS / 4

/** Until a vanished peer is missed, in ms: its system resets its connections, or nothing answers any more. */
const RESET_MS = 20
const SILENT_MS = 10_000

/** One node of the fleet, with a fetch for each layer. */
export class Machine {
  readonly id: string
  readonly kind: MachineKind
  readonly rate: number
  readonly up: Link
  readonly down: Link
  readonly fetches: Fetch[] = []
  readonly banned = new Set<string>()
  readonly startedAt: number
  readonly isOriginal: boolean
  doneAt: number | undefined
  isAlive = true
  /** What it sends, of all layers. */
  readonly uploads = new Uploads()
  readonly offers = new Offers()
  readonly pace = new LinePace()
  /** Its requests, of all layers. */
  readonly slots = new Slots(MAX_REQUESTS, NODE_REQUESTS)
  readonly #admitted = new Map<string, number>()
  #uploading = 0

  constructor(id: string, kind: MachineKind, rate: number, startedAt: number, isOriginal: boolean) {
    this.id = id
    this.kind = kind
    this.rate = rate
    this.up = new Link(bytesPerMs(rate))
    this.down = new Link(bytesPerMs(rate))
    this.startedAt = startedAt
    this.isOriginal = isOriginal
  }

  get isDone(): boolean {
    return this.doneAt !== undefined
  }

  /** @returns whether there is room for one more upload to a peer */
  admit(to: string): boolean {
    const running = this.#admitted.get(to) ?? 0
    if (this.#uploading >= MAX_UPLOADS || running >= MAX_UPLOADS_TO_ONE) return false
    this.#admitted.set(to, running + 1)
    this.#uploading++
    return true
  }

  release(to: string): void {
    this.#admitted.set(to, (this.#admitted.get(to) ?? 0) - 1)
    this.#uploading--
  }

  completed(now: number): void {
    if (this.doneAt === undefined && this.fetches.every(({ held }) => held.isFull)) this.doneAt = now
  }

  vanish(world: World): void {
    if (!this.isAlive) return
    this.isAlive = false
    for (const fetch of this.fetches) fetch.stop()
    world.after(world.scenario.isSilent ? SILENT_MS : RESET_MS, () => {
      if (!world.scenario.isSilent) world.book.left(this.id)
      for (const fetch of this.fetches) fetch.missed()
    })
    // What it was sending stops at once.
    for (const flow of [...this.up.flows, ...this.down.flows]) world.network.stop(flow, world.now)
  }
}
