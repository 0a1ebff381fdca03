import { chunksOf, limitOf, type Scenario } from './scenario.ts'
import type { Result } from './simulate.ts'

/** What runs of one scenario came to, for people. */
export function report(scenario: Scenario, results: readonly Result[], seconds: number): string {
  const chunks = chunksOf(scenario)
  const mean = (of: (result: Result) => number) => sum(results.map(of)) / results.length
  const worst = (of: (result: Result) => number) => Math.max(...results.map(of))
  const each = (of: (counters: Result['counters']) => number) =>
    mean(({ counters, nodes }) => of(counters) / nodes.length / chunks).toFixed(2)
  const messages = each(({ news, asks, busy, none, left }) => news + asks + busy + none + left)
  const chunkMs = limitOf(scenario) / chunks
  const waits = [mean, worst].map((of) => of(({ longestWait }) => longestWait / chunkMs).toFixed(0))
  const lines: (readonly [string, string])[] = [
    [
      'last / limit',
      `mean ${mean(({ last }) => last).toFixed(3)}, worst ${worst(({ last }) => last).toFixed(3)}, of ${(limitOf(scenario) / 1000).toFixed(2)} s`,
    ],
    ['each seed', results.map(({ last }) => last.toFixed(3)).join(' ')],
    [
      'first and median / limit',
      `${mean(({ first }) => first).toFixed(3)}, ${mean(({ median }) => median).toFixed(3)}`,
    ],
    ['longest in-order wait', `mean ${waits[0]}, worst ${waits[1]} chunk times of ${chunkMs.toFixed(0)} ms`],
    [
      'messages, chunk and node',
      `${messages}: news ${each(({ news }) => news)}, questions ${each(({ asks }) => asks)}, busy ${each(({ busy }) => busy)}, none ${each(({ none }) => none)}, given up ${each(({ left }) => left)}; ${each(({ controlBytes }) => controlBytes)} bytes`,
    ],
    ['claims, node', mean(({ counters, nodes }) => (counters.wants + counters.turns) / nodes.length).toFixed(1)],
    ['bytes twice', mean(({ counters, nodes }) => counters.twiceBytes / nodes.length / chunks / 2 ** 20).toFixed(5)],
    [
      'upstream',
      `mean ${mean(({ upstream }) => upstream).toFixed(4)}, worst ${worst(({ upstream }) => upstream).toFixed(4)}`,
    ],
    ...(scenario.sites === 1
      ? []
      : [
          [
            'between sites',
            `mean ${mean(({ between }) => between).toFixed(4)}, worst ${worst(({ between }) => between).toFixed(4)}`,
          ] as const,
        ]),
    ['complete', `${results.filter(({ isComplete }) => isComplete).length} of ${results.length} runs`],
    ['simulated in', `${seconds.toFixed(1)} s`],
  ]
  return lines.map(([name, value]) => `${name.padEnd(26)}${value}`).join('\n')
}

function sum(values: readonly number[]): number {
  return values.reduce((all, value) => all + value, 0)
}
