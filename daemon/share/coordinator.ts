import type { Digest } from '../../proxy/oci/digest.ts'
import type { Coordination, PeerId } from '../swarm/ports.ts'
import type { Clock } from './clock.ts'
import type { Turn, Want } from './plan/messages.ts'
import type { Numbers } from './plan/numbers.ts'
import { ClaimQueue, type QueueEvent } from './plan/queue.ts'

interface CoordinatorOptions {
  readonly clock: Clock
  readonly numbers: Numbers
  /** The site of a peer, or of this node, if it has told one. */
  readonly siteOf?: ((peer: PeerId) => string | undefined) | undefined
  /** Whether others can fetch from a peer; all can where it is left out. */
  readonly canGive?: ((peer: PeerId) => boolean) | undefined
  readonly announced: Coordination['announced']
  /** A peer, or this node itself, is to be told about turns. */
  readonly onTurns: (to: PeerId, turns: readonly Turn[]) => void
}

/** Answers those who ask this node as the coordinator of a blob. */
export class Coordinator {
  readonly #options: CoordinatorOptions
  readonly #queue: ClaimQueue
  /**
   * Each peer's wants are served one after the other: one that said last that it is gone must not be granted a turn, and one that sends
   * many has the records of one message read at a time.
   */
  readonly #serving = new Map<PeerId, Promise<void>>()
  /** Records that are being read: all who ask for a blob in one moment wait for the same. */
  readonly #lookups = new Map<string, Promise<readonly PeerId[]>>()
  readonly #wake = () => this.#step({ kind: 'wake' })
  #isStopped = false

  constructor(options: CoordinatorOptions) {
    this.#options = options
    this.#queue = new ClaimQueue(options.numbers, Math.random, options.siteOf, options.canGive)
  }

  stop(): void {
    this.#isStopped = true
  }

  async serve(from: PeerId, wants: readonly Want[]): Promise<void> {
    const before = this.#serving.get(from)
    const served = (async () => {
      await before
      this.#step({ kind: 'wants', from, wants, recorded: await this.#recorded(wants) })
    })().catch(() => {})
    this.#serving.set(from, served)
    await served
    if (this.#serving.get(from) === served) this.#serving.delete(from)
  }

  /** A peer is not connected any more. */
  left(peer: PeerId): void {
    this.#step({ kind: 'left', peer })
  }

  /** Who has announced the blobs of those who may be granted a turn. For whoever reads already, what was said last holds. */
  async #recorded(wants: readonly Want[]): Promise<Map<string, readonly PeerId[]>> {
    const recorded = new Map<string, readonly PeerId[]>()
    const lookUp = async (blob: string) => void recorded.set(blob, await this.#lookUp(blob))
    const asking = wants.filter(({ wish, brought }) => wish === 'soon' || (wish === 'part' && brought === 0))
    await Promise.all(asking.map(({ blob }) => lookUp(blob)))
    return recorded
  }

  async #lookUp(blob: string): Promise<readonly PeerId[]> {
    const known = this.#lookups.get(blob)
    if (known !== undefined) return await known
    const lookup = this.#options.announced(blob as Digest)
    this.#lookups.set(blob, lookup)
    try {
      return await lookup
    } finally {
      this.#lookups.delete(blob)
    }
  }

  #step(event: QueueEvent): void {
    if (this.#isStopped) return
    const byPeer = new Map<PeerId, Turn[]>()
    for (const { to, turn } of this.#queue.step(event, this.#options.clock.now)) {
      const turns = byPeer.get(to)
      if (turns === undefined) byPeer.set(to, [turn])
      else turns.push(turn)
    }
    for (const [peer, turns] of byPeer) this.#options.onTurns(peer, turns)
    this.#options.clock.wake(this.#wake, this.#queue.wakeAt)
  }
}
