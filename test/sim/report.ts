import { contentBytes } from './scenario.ts'
import type { Result } from './simulate.ts'

/** What a run came to, for people. */
export function report(result: Result, seconds: number): string {
  const { scenario, counters, nodes, fluid } = result
  const size = contentBytes(scenario)
  const perNode = (count: number) => (count / nodes.length).toFixed(0)
  const lies = Math.max(0, ...counters.liarChunks.values())
  const lines: (readonly [string, string])[] = [
    [
      'last / median of fluid limit',
      `${result.last.toFixed(3)} / ${result.median.toFixed(3)} of ${(fluid / 1000).toFixed(1)} s`,
    ],
    ['by rate (Mbit/s)', byRate(result)],
    ['upstream bytes', `${result.upstream.toFixed(4)} x the content`],
    ['duplicate bytes', `${(counters.duplicateBytes / size / nodes.length).toFixed(4)} x the content, each node`],
    ['wrong chunks', `${counters.wrongChunks}, at most ${lies} for one node and layer`],
    [
      'each node',
      `${perNode(counters.requests)} requests, ${perNode(counters.busy)} busy, ${perNode(counters.haves)} have-messages, ${perNode(counters.claims)} claims, ${perNode(counters.plans)} plans`,
    ],
    ['complete', `${nodes.filter(({ ms }) => ms !== undefined).length} of ${nodes.length}`],
    ['simulated in', `${seconds.toFixed(1)} s`],
  ]
  return lines.map(([name, value]) => `${name.padEnd(30)}${value}`).join('\n')
}

function byRate({ nodes, scenario }: Result): string {
  const rates = [...new Set(nodes.map(({ rate }) => rate))].sort((a, b) => b - a)
  const size = contentBytes(scenario) / 125
  return rates
    .map((rate) => {
      const alike = nodes.filter((node) => node.rate === rate)
      const last = Math.max(...alike.map(({ ms }) => ms ?? Number.POSITIVE_INFINITY))
      const limit = Math.max(size / rate, size / (scenario.upstream || rate))
      const wait = Math.max(...alike.map(({ longestWait }) => longestWait))
      return `${rate}: last ${(last / 1000).toFixed(1)} s = ${(last / limit).toFixed(3)} of own limit, a client waits up to ${(wait / 1000).toFixed(1)} s`
    })
    .join('; ')
}
