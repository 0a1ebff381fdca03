import { Draw } from './draw.ts'

/** A kind of fault, as far as it is planned. */
export interface Kind {
  readonly kind: string
  /** How often it comes, compared with others. */
  readonly weight: number
  /** Seconds from its begin to its end, the least and the most. */
  readonly seconds: readonly [least: number, most: number]
  /** Whom it befalls: a node, the upstream registry, a part of the fleet, or a node that gets what another one has. */
  readonly befalls: 'node' | 'upstream' | 'part' | 'pair'
}

/** A fault that will be. */
export interface Planned {
  readonly number: number
  readonly kind: string
  /** Seconds from the start of the run. */
  readonly at: number
  readonly until: number
  /** Numbers of nodes that it befalls, from 0 on; none where it is upstream's. */
  readonly nodes: readonly number[]
  /** Another node that takes part and is not harmed. */
  readonly from: number | undefined
}

interface Span {
  readonly seed: number
  readonly nodes: number
  /** Length of the run in seconds. */
  readonly seconds: number
  readonly settle: number
}

/** Faults begin this often, in seconds, on average. */
const EVERY_S = 8
/** A short run has at least this number of faults, roughly. */
const LEAST = 6
/** This part of faults leaves a node, or upstream, time to settle before its next one. The others come on top of each other. */
const CALM_PART = 0.7
/** The first fault comes when every node has met the others and some content is there, in seconds. A short run has less time. */
const FIRST_S = 15

/** When which fault befalls whom: the same for the same seed. The end of the run is free of faults, so that all has to be well then. */
export function schedule(kinds: readonly Kind[], { seed, nodes, seconds, settle }: Span): Planned[] {
  const draw = new Draw(seed, 'schedule')
  const last = seconds - settle - 5
  const free = Array.from({ length: nodes }, () => 0)
  let upstreamFree = 0
  const planned: Planned[] = []
  const first = Math.min(FIRST_S, seconds / 6)
  const every = Math.min(EVERY_S, (last - first) / LEAST)
  for (let at = first; at < last; at += draw.pause(every)) {
    const able = draw.shuffled(free.flatMap((since, node) => (since <= at ? [node] : [])))
    const possible = kinds.filter(({ befalls }) => {
      if (befalls === 'upstream') return upstreamFree <= at
      return able.length >= { node: 1, part: 2, pair: 2 }[befalls]
    })
    if (possible.length === 0) continue
    const { kind, seconds: length, befalls } = draw.weighted(possible)
    const until = Math.min(last, at + draw.between(...length))
    const rest = draw.chance(CALM_PART) ? draw.between(settle, 2 * settle) : draw.between(1, settle / 2)
    const count = befalls === 'part' ? 1 + draw.below(Math.min(able.length, nodes - 1)) : befalls === 'upstream' ? 0 : 1
    const whom = able.slice(0, count)
    planned.push({
      number: planned.length + 1,
      kind,
      at,
      until,
      nodes: whom,
      from: befalls === 'pair' ? able[1] : undefined,
    })
    if (befalls === 'upstream') upstreamFree = until + rest
    for (const node of befalls === 'pair' ? able.slice(0, 2) : whom) free[node] = until + rest
  }
  return planned
}
