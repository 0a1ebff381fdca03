import { loadavg } from 'node:os'
import type { NodeStatus } from '../../daemon/admin/app.ts'
import type { Node } from './node.ts'
import { Overdue } from './overdue.ts'
import type { World } from './world.ts'

/** More memory than a node of this size of fleet may take, in bytes: its quarters, lists and the page cache of nobody. */
const MAX_MEMORY = 500 * 2 ** 20
/** More open files and sockets than it may have. */
const MAX_FILES = 300
/** A clone's error stays in the status for five minutes after the clone was met last, in ms. */
const PROBLEM_MS = 330_000
/** A disk is measured every few seconds, and what was freed is counted late, in ms. */
const SHORT_MS = 60_000

/** The largest that was seen of a node. */
export interface Peak {
  memory: number
  files: number
}

/** Looks at the fleet again and again, and says what has not come back in time. */
export class Health {
  readonly peaks = new Map<string, Peak>()
  /** The largest load average of the machine. */
  load = 0
  readonly #world: World
  readonly #overdue = new Overdue()
  /** What each node said last. */
  readonly #statuses = new Map<string, NodeStatus>()

  constructor(world: World) {
    this.#world = world
  }

  /** One look at all nodes. */
  async look(): Promise<void> {
    this.load = Math.max(this.load, loadavg()[0] ?? 0)
    await Promise.all(this.#world.nodes.map((node) => this.#lookAt(node)))
    for (const node of this.#world.nodes) this.#peersOf(node)
  }

  async #lookAt(node: Node): Promise<void> {
    await this.#use(node)
    const kinds = this.#world.troubles.of(node.name)
    // Frozen or ended, it would be waited for in vain.
    const status = node.isRunning && !kinds.includes('frozen') ? await node.status().catch(() => undefined) : undefined
    if (status === undefined) this.#statuses.delete(node.name)
    else this.#statuses.set(node.name, status)
    const isDue = this.#isWell(node)
    this.#expect('not ready', node, isDue ? await node.notReady() : undefined)
    const { isShort = false, freeBytes } = status?.store ?? {}
    const short = isDue && isShort ? `${freeBytes} bytes are free, and nothing is left to evict` : undefined
    this.#expect('its disk is short', node, short, SHORT_MS)
    const problems = status?.problems.filter(({ kind }) => kind === 'identity').map(({ text }) => text)
    this.#expect('it needs a person', node, isDue ? problems?.[0] : undefined, PROBLEM_MS)
    const banned = status?.banned.map(({ peerId, reason }) => `${this.#nameOf(peerId)}: ${reason}`).join('; ')
    this.#expect('it has banned an honest peer', node, banned === '' ? undefined : banned, 0)
  }

  /** Whether a node sees each other one that should be there. */
  #peersOf(node: Node): void {
    const own = this.#statuses.get(node.name)
    for (const other of this.#world.nodes) {
      if (other === node) continue
      const peerId = this.#statuses.get(other.name)?.peerId
      const isDue = this.#isWell(node) && this.#isWell(other) && own !== undefined && peerId !== undefined
      const peer = own?.peers.find((one) => one.peerId === peerId)
      const seen =
        peer === undefined ? 'not connected' : peer.transfer ? undefined : `no transfer: ${peer.transferProblem}`
      this.#expect(`it does not see ${other.name}`, node, isDue ? seen : undefined)
    }
  }

  async #use(node: Node): Promise<void> {
    const use = await node.use()
    if (use === undefined) return
    const peak = this.peaks.get(node.name) ?? { memory: 0, files: 0 }
    this.peaks.set(node.name, {
      memory: Math.max(peak.memory, use.memory),
      files: Math.max(peak.files, use.files),
    })
    const memory = use.memory > MAX_MEMORY ? `${Math.round(use.memory / 2 ** 20)} MiB` : undefined
    this.#expect('it takes too much memory', node, memory, 0)
    this.#expect('it has too many files open', node, use.files > MAX_FILES ? String(use.files) : undefined, 0)
  }

  /** @param seen what is there in place of the right thing; undefined where that is there, or is not due */
  #expect(key: string, node: Node, seen: string | undefined, limit = this.#world.options.settle * 1000): void {
    const breach = this.#overdue.told(`${node.name}: ${key}`, seen, limit, performance.now())
    if (breach !== undefined)
      this.#world.journal.violate(key, node.name, `for ${breach.since.toFixed(0)} s, without a fault: ${breach.seen}`)
  }

  #isWell(node: Node): boolean {
    return this.#world.troubles.of(node.name).length === 0
  }

  #nameOf(peerId: string): string {
    return [...this.#statuses].find(([, status]) => status.peerId === peerId)?.[0] ?? peerId
  }
}
