import { describe, expect, it } from 'vitest'
import { NUMBERS } from '../../daemon/share/plan/numbers.ts'
import { readOptions } from './options.ts'
import { report } from './report.ts'
import { plainScenario, type Scenario } from './scenario.ts'
import { simulate } from './simulate.ts'

const small = Array.from({ length: 40 }, () => 1)

const run = (scenario: Partial<Scenario>) => simulate({ ...plainScenario, ...scenario })

/** The last of 16 nodes, 256 MiB in three blobs, in parts of what nobody could do better; one seed, so with room to spare. */
const scenes: readonly [what: string, scenario: Partial<Scenario>, bound: number, upstream: number][] = [
  ['links that are equal', {}, 1.08, 1.001],
  ['an upstream with a fifth of the rate', { upstreamRate: 20 }, 1.03, 1.01],
  ['an upstream with ten times the rate', { upstreamRate: 1_000 }, 1.08, 1.001],
  ['a node that is 20 times slower', { slow: { nodes: 1, rate: 5, isFirst: false } }, 1.15, 1.01],
  ['one that is slower and reads upstream', { slow: { nodes: 1, rate: 5, isFirst: true } }, 1.2, 1.02],
  ['nodes that leave', { leave: 0.1 }, 1.15, 1.05],
  ['nodes that leave in silence', { leave: 0.1, isSilent: true }, 1.2, 1.05],
  ['the reader killed', { killHolder: 0.5 }, 1.15, 1.05],
  ['the reader gone in silence', { killHolder: 0.5, isSilent: true }, 1.25, 1.05],
  ['a peer that takes questions and sends nothing', { stallers: 1 }, 1.15, 1.02],
  ['a peer that is first in the queue and reads nothing', { falseHeads: 1 }, 1.15, 1.02],
  ['a peer that says nothing', { silentPeers: 1 }, 1.15, 1.02],
  ['50 ms between nodes', { latency: 50 }, 1.2, 1.001],
  ['messages that wait behind chunks', { queue: 50 }, 1.1, 1.001],
  ['a coordinator that lies', { isLyingCoordinator: true }, 1.4, 1.05],
  ['blobs of unknown size', { isUnsized: true }, 1.08, 1.001],
  ['lines that are slow', { rate: 5, upstreamRate: 5, blobs: [40, 18, 6] }, 1.3, 1.1],
]

describe('the simulated fleet', () => {
  it.each(scenes)('of 16 is done in time: %s', (_what, scenario, bound, upstream) => {
    const result = run(scenario)
    expect(result.isComplete).toBe(true)
    expect(result.last).toBeLessThan(bound)
    expect(result.upstream).toBeLessThan(upstream)
  })

  it.each([
    ['says so', {}],
    ['has announced it before', { isRecorded: true }],
    ['has announced it before, and the sizes are not known', { isRecorded: true, isUnsized: true }],
    ['has announced it before, on slow lines', { isRecorded: true, rate: 20, blobs: [80, 36, 12] }],
    ['has 40 small blobs, and has announced them before', { isRecorded: true, blobs: small }],
    ['has announced it before, and the others know of it before they want it', { isRecorded: true, ahead: 500 }],
    [
      'has 40 small blobs, which the others know of before they want them',
      { isRecorded: true, blobs: small, ahead: 500 },
    ],
  ])('asks upstream for nothing that a node has that %s', (_what, scenario) => {
    const result = run({ holders: 1, ...scenario })
    expect(result.isComplete).toBe(true)
    expect(result.upstream).toBe(0)
    expect(result.last).toBeLessThan(1.4)
  })

  it('of 64 is done in time, and no node long after the others', { timeout: 120_000 }, () => {
    const result = run({ nodes: 64 })
    expect(result.last).toBeLessThan(1.1)
    // Cliques would show here.
    expect(result.last - result.median).toBeLessThan(0.03)
  })

  it('lets no client that reads in order wait for long', () => {
    const chunkMs = run({}).longestWait / ((1024 * 1024) / 12_500)
    expect(chunkMs).toBeLessThan(70)
  })

  it.each<[what: string, scenario: Partial<Scenario>, bound: number, between: number, upstream: number]>([
    ['links that are equal', {}, 1.05, 1.05, 1.02],
    ['upstream at one of them', { upstreamSite: 0 }, 1.05, 1.05, 1.02],
    ['the reader killed', { killHolder: 0.5 }, 1.15, 1.1, 1.15],
    ['nodes that leave', { leave: 0.2 }, 1.15, 1.1, 1.05],
    ['a peer that takes questions and sends nothing', { stallers: 1 }, 1.15, 1.1, 1.1],
    ['one node that has it all', { holders: 1, isRecorded: true }, 1.1, 1.1, 0.001],
  ])('at two sites has each chunk cross the line between once: %s', (_what, scenario, bound, between, upstream) => {
    const result = run({ nodes: 8, sites: 2, betweenRate: 10, blobs: [80, 36, 12], ...scenario })
    expect(result.isComplete).toBe(true)
    expect(result.last).toBeLessThan(bound)
    expect(result.between).toBeLessThan(between)
    expect(result.upstream).toBeLessThan(upstream)
  })

  it.each<[what: string, scenario: Partial<Scenario>, upstream: number]>([
    ['16 at 10 Mbit/s', { nodes: 16, upstreamRate: 10 }, 2],
    ['16 at 20 Mbit/s', { nodes: 16, upstreamRate: 20 }, 2],
    ['4 at 10 Mbit/s', { nodes: 4, upstreamRate: 10 }, 1.5],
    ['8 on slow links with a fast registry', { nodes: 8, rate: 20, upstreamRate: 1_000 }, 1.5],
    ['16 on fast links', { nodes: 16, rate: 100, upstreamRate: 100 }, 1.01],
  ])('in an open swarm shares a line to upstream as well: %s', (_what, scenario, upstream) => {
    const result = run({ isOpen: true, rate: 1_000, blobs: [40, 18, 6], ...scenario })
    expect(result.isComplete).toBe(true)
    expect(result.upstream).toBeLessThan(upstream)
  })

  it.each<[what: string, scenario: Partial<Scenario>]>([
    ['a coordinator that lies', { isLyingCoordinator: true }],
    ['peers that take questions and send nothing', { stallers: 3 }],
  ])('in an open swarm is not held up for long by %s', (_what, scenario) => {
    const result = run({ isOpen: true, nodes: 4, rate: 1_000, blobs: [8, 3, 1], ...scenario })
    expect(result.isComplete).toBe(true)
    expect(result.last * result.limit).toBeLessThan(3_000)
  })

  it('at two sites that nodes do not know sends more than that', () => {
    expect(run({ nodes: 8, sites: 2, areSitesKnown: false }).between).toBeGreaterThan(2)
  })

  it('fetches many small blobs without asking upstream twice', () => {
    const result = run({ blobs: small })
    expect(result.isComplete).toBe(true)
    expect(result.upstream).toBeLessThan(1.1)
  })

  it('has a small blob everywhere as soon as it can be passed on: nothing waits for a timer', () => {
    expect(run({ blobs: [1] }).last).toBeLessThan(4.2)
  })

  it('is the same again from the same seed, and another one from another', () => {
    const scenario = { blobs: [32, 16], leave: 0.2, stallers: 1 }
    const first = run({ ...scenario, seed: 7 })
    expect(run({ ...scenario, seed: 7 })).toEqual(first)
    expect(run({ ...scenario, seed: 8 }).nodes).not.toEqual(first.nodes)
  })

  it.each([1, 2])('has nearly the same figures with rates that are computed now and then (seed %i)', (seed) => {
    const scenario = { nodes: 24, blobs: [96, 32], seed }
    const [exact, approximate] = [24, 0].map((exactNodes) => run({ ...scenario, exactNodes }).last)
    expect(Math.abs((exact ?? 0) - (approximate ?? 0))).toBeLessThan(0.02)
  })
})

describe('what the design needs', () => {
  const last = (numbers: Partial<typeof NUMBERS>, scenario: Partial<Scenario> = {}) =>
    run({ ...scenario, numbers: { ...NUMBERS, ...numbers } }).last

  it('is parts of chunks that are passed on: with whole ones the last node is later', () => {
    expect(last({ quarters: 1 })).toBeGreaterThan(last({}) + 0.02)
  })

  it('is more than one place', () => {
    expect(last({ places: 1 })).toBeGreaterThan(last({}) + 0.05)
  })
})

describe('the command line', () => {
  it('reads a scenario', () => {
    const args = '--nodes 8 --size 64 --blobs 2 --kill-holder --slow 1=5 --set places=8 --seeds 2'.split(' ')
    const options = readOptions(args)
    expect(options).toMatchObject({
      seeds: [1, 2],
      scenario: { nodes: 8, blobs: [32, 32], killHolder: 0.5, slow: { nodes: 1, rate: 5 }, numbers: { places: 8 } },
    })
  })

  it('reads whether the swarm is open', () => {
    expect([[], ['--open']].map((args) => readOptions(args))).toMatchObject(
      [false, true].map((isOpen) => ({ scenario: { isOpen } })),
    )
  })

  it('reads sites', () => {
    expect(readOptions('--sites 2 --between 5 --upstream-site 1 --unknown-sites'.split(' '))).toMatchObject({
      scenario: { sites: 2, betweenRate: 5, upstreamSite: 0, areSitesKnown: false },
    })
  })

  it.each([
    ['--set', 'rooms=8', /--set takes name=value/],
    ['--nodes', 'many', /--nodes takes a number/],
  ])('says what is wrong with %s %s', (option, value, error) => {
    expect(() => readOptions([option, value])).toThrow(error)
  })

  it('has a report', () => {
    const scenario = { ...plainScenario, nodes: 4, blobs: [8] }
    expect(report(scenario, [simulate(scenario)], 1)).toMatch(/last \/ limit +mean \d\.\d{3}, worst/)
  })
})
