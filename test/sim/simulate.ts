import { Coordinator } from './coordinator.ts'
import { Machine } from './machine.ts'
import { chunksOf, limitOf, type Scenario } from './scenario.ts'
import { Stranger, type StrangerKind } from './stranger.ts'
import { type Counters, World } from './world.ts'

/** How one node fared. */
interface NodeResult {
  readonly id: string
  readonly rate: number
  /** From the first start until it had everything, in ms; undefined if it never did. */
  readonly ms: number | undefined
  /** The longest time for which a client of it that reads a blob in order waited for the next chunk, in ms. */
  readonly longestWait: number
}

export interface Result {
  /** All that stayed, without those that had everything at the start. */
  readonly nodes: readonly NodeResult[]
  readonly isComplete: boolean
  /** In ms, of the nodes that are not slow. */
  readonly limit: number
  /** The last, the first and the middle one of the nodes that are not slow, in parts of the limit. */
  readonly last: number
  readonly first: number
  readonly median: number
  /** In ms, of the nodes that are not slow. */
  readonly longestWait: number
  /** Bytes from upstream, in parts of the content's. */
  readonly upstream: number
  /** Bytes from one site to another, in parts of the content's. */
  readonly between: number
  readonly counters: Counters
}

/** How often it is looked whether all is over, in ms. */
const LOOK_MS = 20

/** Runs one scenario to its end. The same scenario gives the same result. */
export function simulate(scenario: Scenario): Result {
  const world = new World(scenario)
  world.coordinator = new Coordinator(world)
  const { nodes, slow, holders } = scenario
  const rateOf = (index: number) => (index < slow.nodes ? slow.rate : scenario.rate)
  for (let index = 0; index < holders; index++) add(world, `holder-${index}`, scenario.rate, 0, true)
  addStrangers(world, 'false-head', scenario.falseHeads)
  addStrangers(world, 'staller', scenario.stallers)
  for (let index = 0; index < nodes; index++) {
    const isFirst = index < slow.nodes && slow.isFirst
    add(world, `node-${index}`, rateOf(index), isFirst ? 0.5 : 1 + world.random() * scenario.spread, false)
  }
  addStrangers(world, 'silent', scenario.silentPeers)
  const limit = limitOf(scenario)
  leave(world, limit)
  killHolder(world)
  const awaited = [...world.machines.values()]
  let isOver = false
  const look = () => {
    isOver = awaited.every(({ doneAt, isAlive }) => doneAt !== undefined || !isAlive)
    if (!isOver) world.after(LOOK_MS, look)
  }
  look()
  world.run(() => isOver)
  return summary(world, limit)
}

function add(world: World, id: string, rate: number, at: number, holdsAll: boolean): void {
  // One after the other: holders and slow nodes are at the first site.
  const { holders, nodes } = world.scenario
  const place = Math.max(0, world.machines.size - holders) / nodes
  const site = world.sites[Math.floor(place * world.sites.length)]
  if (site === undefined) throw new RangeError('a scenario has at least one site')
  const machine = new Machine(world, id, rate, site)
  world.machines.set(id, machine)
  world.peers.set(id, machine)
  world.after(at, () => machine.start(holdsAll))
}

function addStrangers(world: World, kind: StrangerKind, count: number): void {
  for (let index = 0; index < count; index++) {
    const id = `${kind}-${index}`
    const stranger = new Stranger(world, id, kind)
    world.peers.set(id, stranger)
    world.after(0, () => stranger.start())
  }
}

/** Some leave at random times before the limit; slow ones stay. */
function leave(world: World, limit: number): void {
  const { nodes, slow, leave: part } = world.scenario
  const order = Array.from({ length: nodes - slow.nodes }, (_, index) => ({
    id: `node-${slow.nodes + index}`,
    key: world.random(),
  })).sort((a, b) => a.key - b.key)
  for (const { id } of order.slice(0, Math.round(nodes * part)))
    world.after(world.random() * limit, () => world.machines.get(id)?.leave())
}

function killHolder(world: World): void {
  const { killHolder: part } = world.scenario
  if (part === undefined) return
  let brought = 0
  const due = chunksOf(world.scenario) * part
  world.onBrought = (machine) => {
    if (++brought < due) return
    world.onBrought = () => {}
    // Not while its own event is handled.
    world.after(0, () => machine.leave())
  }
}

function summary(world: World, limit: number): Result {
  const { scenario, counters } = world
  const startedAt = Math.min(...[...world.machines.values()].map((machine) => machine.startedAt))
  const nodes = [...world.machines.values()]
    .filter(({ id, isAlive }) => id.startsWith('node-') && isAlive)
    .map(({ id, rate, doneAt, clients }) => {
      const ms = doneAt === undefined ? undefined : doneAt - startedAt
      return { id, rate, ms, longestWait: clients.longestWait }
    })
  const fast = nodes.filter(({ rate }) => rate === scenario.rate)
  const times = fast.map(({ ms }) => (ms ?? Number.POSITIVE_INFINITY) / limit).sort((a, b) => a - b)
  const bytes = chunksOf(scenario) * 1024 * 1024
  return {
    nodes,
    isComplete: nodes.every(({ ms }) => ms !== undefined),
    limit,
    last: times.at(-1) ?? 0,
    first: times[0] ?? 0,
    median: times[times.length >> 1] ?? 0,
    longestWait: Math.max(...fast.map(({ longestWait }) => longestWait)),
    upstream: counters.upstreamBytes / bytes,
    between: counters.betweenBytes / bytes,
    counters,
  }
}
