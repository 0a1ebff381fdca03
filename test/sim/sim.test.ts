import { describe, expect, it } from 'vitest'
import { Link, Network } from './network.ts'
import { contentBytes, plainScenario, type Scenario } from './scenario.ts'
import { type Result, simulate } from './simulate.ts'

const run = (scenario: Partial<Scenario>): Result => simulate({ ...plainScenario, ...scenario })

/** The last of the nodes of the fastest rate, in parts of what that rate and upstream allow. */
function lastOfFast({ nodes, scenario }: Result): number {
  const rate = Math.max(...nodes.map((node) => node.rate))
  const limit = (contentBytes(scenario) * 8) / 1000 / Math.min(rate, scenario.upstream)
  return Math.max(...nodes.filter((node) => node.rate === rate).map(({ ms }) => ms ?? Number.POSITIVE_INFINITY)) / limit
}

/** Goals of the last node and of upstream's bytes, in parts of what is possible. */
const goals: readonly [what: string, scenario: Partial<Scenario>, last: number, upstream: number][] = [
  ['two nodes', { nodes: 2 }, 1.02, 1.01],
  ['eight nodes', { nodes: 8 }, 1.08, 1.01],
  ['sixteen nodes', { nodes: 16 }, 1.12, 1.01],
  [
    'eight nodes whose messages wait behind chunks',
    { nodes: 8, rates: [50], upstream: 50, roundTrip: 100 },
    1.15,
    1.001,
  ],
  ['three layers at once', { nodes: 8, layers: 3, chunks: [86] }, 1.09, 1.001],
  [
    'three layers at once over thin lines',
    { nodes: 8, layers: 3, chunks: [86], rates: [12], upstream: 12 },
    1.12,
    1.01,
  ],
  [
    'sixteen nodes on thin lines whose messages wait behind chunks',
    { nodes: 16, layers: 3, chunks: [86], rates: [12], upstream: 12, roundTrip: 300 },
    1.25,
    1.02,
  ],
  [
    'the same with a small image',
    { nodes: 16, layers: 3, chunks: [32], rates: [12], upstream: 12, roundTrip: 300 },
    1.5,
    1.03,
  ],
  [
    'layers of unlike sizes, of which one comes slowly from upstream',
    { nodes: 16, layers: 3, chunks: [43, 86, 128], shares: [1, 4, 4], rates: [12], upstream: 12, roundTrip: 300 },
    1.22,
    1.02,
  ],
  ['three layers at sixteen nodes at once', { nodes: 16, layers: 3, chunks: [86] }, 1.14, 1.001],
  ['fast links, where messages take as long as chunks', { nodes: 16, rates: [2000], upstream: 2000 }, 1.25, 1.01],
  ['a slow upstream', { nodes: 16, upstream: 20 }, 1.03, 1.01],
  ['a complete peer and no upstream', { nodes: 8, seeds: 1, upstream: 0 }, 1.1, 0],
  ['six layers of a complete peer', { nodes: 8, layers: 6, chunks: [16], rates: [50], seeds: 1, upstream: 0 }, 1.22, 0],
  ['several complete peers and no upstream', { nodes: 8, seeds: 4, upstream: 0 }, 1.12, 0],
  ['unequal rates', { nodes: 16, rates: [20, 100] }, 1.1, 1.03],
  ['a holder that vanishes', { nodes: 8, killHolder: 0.5 }, 1.15, 1.1],
  ['a holder that falls silent', { nodes: 16, killHolder: 0.5, isSilent: true }, 1.35, 1.1],
  ['sixty-four nodes', { nodes: 64 }, 1.25, 1.01],
]

describe('a fleet that fetches one image', () => {
  it.each(goals)('%s: soon, and once from upstream', (_what, scenario, last, upstream) => {
    const result = run(scenario)
    expect(result.isComplete).toBe(true)
    expect(result.last).toBeLessThan(last)
    expect(result.upstream).toBeLessThanOrEqual(upstream)
    expect(result.counters.busy).toBeLessThan(result.nodes.length)
    const size = contentBytes(result.scenario)
    expect(result.counters.duplicateBytes / size / result.nodes.length).toBeLessThan(0.05)
  })

  it.each([1, 2, 3])('is not held up by a slow node that claims first (seed %i)', (seed) => {
    const result = run({ nodes: 8, slow: { nodes: 1, rate: 5 }, seed })
    expect(result.isComplete).toBe(true)
    expect(lastOfFast(result)).toBeLessThan(1.23)
    expect(result.upstream).toBeLessThan(1.02)
  })

  it.each([1, 2, 3])('lets no client wait long, though one line is slow among fast ones (seed %i)', (seed) => {
    const { nodes, isComplete } = run({
      nodes: 8,
      rates: [25],
      upstream: 25,
      slow: { nodes: 1, rate: 1.25 },
      layers: 3,
      chunks: [43],
      seed,
    })
    expect(isComplete).toBe(true)
    // All requests that a node begins with take 67 s on such a line.
    for (const { rate, longestWait } of nodes) expect(longestWait).toBeLessThan(rate === 1.25 ? 80_000 : 25_000)
  })

  it.each([1, 2, 3])('loses at most two chunks to each liar, and no time to who sends nothing (seed %i)', (seed) => {
    const result = run({ nodes: 16, liars: 2, stallers: 1, seed })
    expect(result.isComplete).toBe(true)
    expect(Math.max(...result.counters.liarChunks.values())).toBeLessThanOrEqual(2 * 2)
    expect(result.upstream).toBeLessThan(1.02)
    expect(result.last).toBeLessThan(1.5)
  })

  it.each([1, 2, 3])('finishes while nodes vanish and others come (seed %i)', (seed) => {
    const result = run({ nodes: 32, chunks: [128], churn: 0.3, seed })
    expect(result.isComplete).toBe(true)
    expect(result.upstream).toBeLessThan(1.25)
  })

  it('is the same again from the same seed, and another one from another', () => {
    const scenario = { nodes: 16, chunks: [64], churn: 0.2, liars: 1, layers: 2 }
    const first = run({ ...scenario, seed: 7 })
    expect(run({ ...scenario, seed: 7 })).toEqual(first)
    expect(run({ ...scenario, seed: 8 }).nodes).not.toEqual(first.nodes)
  })
})

describe('the simulated network', () => {
  /** Bytes of a flow that never ends. */
  const endless = 1e12
  const shares = (flows: readonly (readonly [from: Link, to: Link])[]) => {
    const network = new Network(0)
    const started = flows.map(([from, to]) => network.start(from, to, endless, 0, () => undefined))
    network.step(network.nextAt(0))
    return started.map(({ rate }) => rate)
  }

  it('shares an uplink among its flows', () => {
    const from = new Link(12)
    expect(shares([1, 2, 3].map(() => [from, new Link(100)] as const))).toEqual([4, 4, 4])
  })

  it('gives what a slow receiver leaves to the others', () => {
    const from = new Link(12)
    expect(
      shares([
        [from, new Link(2)],
        [from, new Link(100)],
      ]),
    ).toEqual([2, 10])
  })

  it('is max-min fair over several links', () => {
    const [a, b] = [new Link(10), new Link(10)]
    const shared = new Link(6)
    expect(
      shares([
        [a, shared],
        [b, shared],
        [b, new Link(100)],
      ]),
    ).toEqual([3, 3, 7])
  })

  it('tells of each piece when it is there', () => {
    const network = new Network(0)
    const pieces = [20, undefined]
    const at: number[] = []
    let now = 0
    network.start(new Link(10), new Link(5), 10, 0, () => {
      at.push(now)
      return pieces.shift()
    })
    while (network.nextAt(now) < Number.POSITIVE_INFINITY) {
      now = network.nextAt(now)
      network.step(now)
    }
    expect(at).toEqual([2, 6])
  })
})
