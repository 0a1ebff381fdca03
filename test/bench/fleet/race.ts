import { setTimeout as sleep } from 'node:timers/promises'
import { type FleetCase, isSlow } from './case.ts'
import type { Contender, World } from './contender.ts'
import { CpuMeter, MachineMeter } from './usage.ts'

const SAMPLE_MS = 100
/** For small images, whose least time is short against what programs need to start. */
const LEAST_DEADLINE_MS = 15_000

export interface NodeResult {
  name: string
  slow: boolean
  /** Milliseconds from the start, where it was killed. */
  killedAt?: number
  /** Milliseconds from the start to its last byte, where that came. */
  finished?: number
  /** Why it did not come, where it should have. */
  failure?: string
  /** Bytes that it had after so many milliseconds. */
  progress: [ms: number, bytes: number][]
  /** Largest resident set of its daemon, in bytes. */
  peakMemory?: number
}

export interface RaceResult {
  nodes: NodeResult[]
  /** Milliseconds after which it was cut off as hopeless. */
  cutAt?: number
  killed?: { index: number; at: number; fetched: number }
  /** Seconds of CPU: mean of the nodes' daemons, mean of the clients, all that serves everybody, the bench itself. */
  cpu: { daemon: number; client: number; serving: number; bench: number }
  /** What became of the machine's CPU time: left, for packets in the kernel, taken by other programs; 0 to 1 each. */
  machine: { idle: number; packets: number; others: number }
}

/** All nodes pull at the same moment. */
export class Race {
  readonly #contender: Contender
  readonly #fleetCase: FleetCase
  readonly #serving: readonly number[]
  readonly #size: number
  readonly #nodes: NodeResult[]
  readonly #over = new AbortController()
  #began = 0
  #cutAt: number | undefined
  #killed: RaceResult['killed']

  constructor({ lan, fleetCase, image, upstream }: World, contender: Contender) {
    this.#contender = contender
    this.#fleetCase = fleetCase
    this.#serving = [...contender.shared, upstream.pid]
    this.#size = image.size
    this.#nodes = lan.nodes.map(({ name }, index) => ({ name, slow: isSlow(fleetCase, index), progress: [[0, 0]] }))
  }

  /**
   * Waits until all nodes that are not slow have ended in one way or the other.
   *
   * @param limit the least time that it can take, in ms
   * @param giveUp limits after which it is cut off
   */
  async run(limit: number, giveUp: number): Promise<RaceResult> {
    const { pulls, daemons, clients } = this.#contender
    const cpu = new CpuMeter([...clients, ...daemons, ...this.#serving])
    const own = process.cpuUsage()
    const machine = new MachineMeter()
    this.#began = performance.now()
    this.#contender.go()
    const sampler = setInterval(() => this.#sample(cpu), SAMPLE_MS)
    const fates = this.#nodes.map((node, index) => this.#fate(node, index))
    const killing = this.#fleetCase.kill ? this.#killAt(limit / 2) : undefined
    try {
      const ended = Promise.all(fates.filter((_, index) => !this.#nodes[index]?.slow))
      await Promise.race([ended, this.#cutAfter(Math.max(giveUp * limit, LEAST_DEADLINE_MS))])
    } finally {
      this.#over.abort()
      clearInterval(sampler)
    }
    cpu.sample()
    const { user, system } = process.cpuUsage(own)
    const bench = (user + system) / 1e6
    const shares = machine.shares(cpu.total([...clients, ...daemons, ...this.#serving]) + bench)
    await killing
    for (const pull of pulls) pull.stop()
    await Promise.all(fates)
    return {
      nodes: this.#nodes,
      ...(this.#cutAt !== undefined && { cutAt: this.#cutAt }),
      ...(this.#killed && { killed: this.#killed }),
      cpu: {
        daemon: cpu.total(daemons) / pulls.length,
        client: cpu.total(clients) / pulls.length,
        serving: cpu.total(this.#serving),
        bench,
      },
      machine: shares,
    }
  }

  #sample(cpu: CpuMeter): void {
    cpu.sample()
    const ms = Math.round(this.#now())
    for (const [index, node] of this.#nodes.entries()) {
      if (hasEnded(node)) continue
      const bytes = this.#contender.pulls[index]?.bytes()
      if (bytes !== undefined) node.progress.push([ms, Math.min(bytes, this.#size)])
    }
  }

  async #fate(node: NodeResult, index: number): Promise<void> {
    try {
      const at = (await this.#contender.pulls[index]?.finished) ?? Number.NaN
      node.finished = at - this.#began
      node.progress.push([Math.round(node.finished), this.#size])
    } catch (error) {
      // Who is stopped after the end, as slow nodes are: they have shown how fast they are, and may need minutes more.
      if (this.#over.signal.aborted || node.killedAt !== undefined) return
      node.failure = error instanceof Error ? error.message : String(error)
    }
  }

  async #killAt(ms: number): Promise<void> {
    if (!(await this.#pause(ms))) return
    const killed = await this.#contender.killBusiest?.()
    if (killed === undefined) return
    const node = this.#nodes[killed.index]
    if (node === undefined) return
    node.killedAt = this.#now()
    // Its client may have noticed first.
    delete node.failure
    this.#contender.pulls[killed.index]?.stop()
    this.#killed = { ...killed, at: node.killedAt }
  }

  async #cutAfter(ms: number): Promise<void> {
    if (await this.#pause(ms)) this.#cutAt = this.#now()
  }

  /** @returns whether the race still goes on then */
  #pause(ms: number): Promise<boolean> {
    return sleep(ms, true, { signal: this.#over.signal }).catch(() => false)
  }

  #now(): number {
    return performance.now() - this.#began
  }
}

/** Whether nothing more is to come of a node. */
export function hasEnded({ finished, failure, killedAt }: NodeResult): boolean {
  return finished !== undefined || failure !== undefined || killedAt !== undefined
}
