import { Fetch } from './fetch.ts'
import { Machine, type MachineKind } from './machine.ts'
import { contentBytes, fluidLimit, inTurn, type Scenario } from './scenario.ts'
import { type Counters, World } from './world.ts'

/** How one node fared. */
interface NodeResult {
  readonly id: string
  readonly rate: number
  /** From its start until it had everything, in ms; undefined if it never did. */
  readonly ms: number | undefined
  readonly isOriginal: boolean
  /** The longest time that a client of it had to wait for the next chunk of a layer, in ms. */
  readonly longestWait: number
}

export interface Result {
  readonly scenario: Scenario
  /** All that did not vanish, without liars, stallers and seeds. */
  readonly nodes: readonly NodeResult[]
  readonly isComplete: boolean
  /** In ms. */
  readonly fluid: number
  /** Of the nodes that were there from the start, in parts of `fluid`. */
  readonly last: number
  readonly median: number
  /** Bytes from upstream, in parts of the content's. */
  readonly upstream: number
  readonly counters: Counters
}

/** How often it is looked whether all is over, in ms. */
const LOOK_MS = 50

/** Runs one scenario to its end. The same scenario gives the same result. */
export function simulate(scenario: Scenario): Result {
  const world = new World(scenario)
  const { nodes, slow, seeds, rates } = scenario
  const rateOf = (index: number) => (index < slow.nodes ? slow.rate : inTurn(rates, index))
  for (let index = 0; index < seeds; index++) add(world, `seed-${index}`, 'honest', rates[0] ?? 0, 0, true)
  for (let index = 0; index < nodes; index++) {
    const at = index < slow.nodes ? 0 : 1 + world.random() * scenario.spread
    add(world, `node-${index}`, 'honest', rateOf(index), at)
  }
  for (let index = 0; index < scenario.liars; index++) add(world, `liar-${index}`, 'liar', rates[0] ?? 0, 5)
  for (let index = 0; index < scenario.stallers; index++) add(world, `staller-${index}`, 'staller', rates[0] ?? 0, 5)
  const fluid = fluidLimit(
    scenario,
    Array.from({ length: nodes }, (_, index) => rateOf(index)),
  )
  let awaited = churn(world, fluid, () => awaited--)
  killHolder(world)
  // Looked at now and then only, as there are many.
  let isOver = false
  const look = () => {
    isOver =
      awaited === 0 && [...world.machines.values()].every((one) => one.isDone || !one.isAlive || one.kind !== 'honest')
    if (!isOver) world.after(LOOK_MS, look)
  }
  look()
  world.run(() => isOver)
  return summary(world, fluid)
}

function add(world: World, id: string, kind: MachineKind, rate: number, at: number, isSeed = false): Machine {
  const machine = new Machine(id, kind, rate, world.now + at, world.now === 0)
  for (let layer = 0; layer < world.scenario.layers; layer++)
    machine.fetches.push(new Fetch(world, machine, layer, isSeed))
  world.machines.set(id, machine)
  if (isSeed) machine.completed(0)
  world.after(at, () => {
    for (const fetch of machine.fetches) fetch.start()
  })
  return machine
}

/** Some vanish, and others come. @returns how many */
function churn(world: World, fluid: number, onDone: () => void): number {
  const { nodes, churn: part, rates } = world.scenario
  const going = Math.round(nodes * part)
  const indexes = Array.from({ length: nodes }, (_, index) => ({ index, order: world.random() }))
  for (const { index } of indexes.sort((a, b) => a.order - b.order).slice(0, going)) {
    world.after(world.random() * fluid, () => {
      world.machines.get(`node-${index}`)?.vanish(world)
      add(world, `node-${index}-again`, 'honest', inTurn(rates, index), 0)
      onDone()
    })
  }
  return going
}

function killHolder(world: World): void {
  const { killHolder: part } = world.scenario
  if (part === undefined) return
  world.onUpstreamChunk = ({ machine, held }) => {
    if (held.count < part * held.length) return
    world.onUpstreamChunk = () => {}
    machine.vanish(world)
  }
}

function summary(world: World, fluid: number): Result {
  const { scenario, counters } = world
  const nodes = [...world.machines.values()]
    .filter(({ id, isAlive }) => id.startsWith('node-') && isAlive)
    .map(({ id, rate, startedAt, doneAt, isOriginal, fetches }) => {
      const longestWait = Math.max(...fetches.map((fetch) => fetch.longestWait))
      return { id, rate, ms: doneAt === undefined ? undefined : doneAt - startedAt, isOriginal, longestWait }
    })
  const times = nodes.filter(({ isOriginal }) => isOriginal).map(({ ms }) => ms ?? Number.POSITIVE_INFINITY)
  const sorted = times.sort((a, b) => a - b)
  return {
    scenario,
    nodes,
    isComplete: nodes.every(({ ms }) => ms !== undefined),
    fluid,
    last: (sorted.at(-1) ?? 0) / fluid,
    median: (sorted[sorted.length >> 1] ?? 0) / fluid,
    upstream: counters.upstreamBytes / contentBytes(scenario),
    counters,
  }
}
