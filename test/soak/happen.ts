import { setTimeout as delay } from 'node:timers/promises'
import { Draw } from './draw.ts'
import { FAULTS } from './faults/all.ts'
import type { Scene } from './faults/fault.ts'
import type { Planned } from './schedule.ts'
import { UPSTREAM } from './troubles.ts'
import type { World } from './world.ts'

/** Lets all planned faults happen, each at its time. Ends when the last one is over, or the signal is aborted. */
export async function letHappen(
  world: World,
  planned: readonly Planned[],
  counts: Record<string, number>,
  signal: AbortSignal,
): Promise<void> {
  await Promise.all(planned.map((fault) => happen(world, fault, counts, signal)))
}

async function happen(
  world: World,
  planned: Planned,
  counts: Record<string, number>,
  signal: AbortSignal,
): Promise<void> {
  const { journal, troubles, options, nodes, lan, upstream } = world
  const wait = (until: number) => delay(Math.max(0, until - journal.now) * 1000, undefined, { signal })
  const { number, kind, at, until, from } = planned
  const fault = FAULTS.find((other) => other.kind === kind)
  const harmed = nodes.filter((_, index) => planned.nodes.includes(index))
  const [node = nodes[0]] = harmed
  if (fault === undefined || node === undefined) throw new Error(`there is no fault of the kind ${kind}`)
  const whom = harmed.length === 0 ? [UPSTREAM] : harmed.map(({ name }) => name)
  const scene: Scene = {
    ...{ lan, upstream, nodes: harmed, node, from: nodes[from ?? -1] ?? node },
    draw: new Draw(options.seed, 'fault', number),
    note: (text) => journal.note('fault', { number, kind, text }),
    violate: (text) => journal.violate('a node does not do what it is told', node.name, `${kind}: ${text}`),
  }
  await wait(at)
  journal.note('fault begins', { number, kind, whom, seconds: Math.round(until - at) })
  counts[kind] = (counts[kind] ?? 0) + 1
  for (const who of whom) troubles.begin(who, number, kind)
  try {
    const end = await fault.begin(scene)
    await wait(until).catch(() => {})
    await end()
  } catch (error) {
    // A fault that can't be made is one of this program, and not of the fleet.
    if (!signal.aborted) journal.violate('a fault can not be made', node.name, `${kind}: ${error}`)
  } finally {
    for (const who of whom) troubles.end(who, number, performance.now())
    journal.note('fault ends', { number, kind, whom })
  }
}
