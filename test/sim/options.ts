import { parseArgs } from 'node:util'
import { plainScenario, type Scenario } from './scenario.ts'

const USAGE = `npm run sim -- [options]
  --nodes N            nodes that fetch, 8 by default
  --chunks N[,M...]    chunks of 1 MiB in the layers, in turn, 256 by default
  --layers N           layers fetched at once, 1 by default
  --rate A[,B...]      Mbit/s of the nodes, in turn, 100 by default
  --upstream R         Mbit/s of upstream, 100 by default; 0 where it can't be reached
  --shares A[,B...]    parts of upstream's line that layers get, in turn, if not equal
  --slow N=R           N nodes, the first to ask, have R Mbit/s
  --seeds N            nodes that have everything, 0 by default
  --liars N            peers that send wrong bytes
  --stallers N         peers that accept requests and send nothing
  --churn P            this part of the nodes vanishes, each replaced by a new one
  --kill-holder P      who fetches from upstream vanishes when it has this part
  --silent             who vanishes does so without its connections being reset
  --round-trip MS      1 by default
  --upstream-delay MS  until the first byte from upstream, 20 by default
  --spread MS          nodes begin within this time, 20 by default
  --seed N             of everything that is random, 1 by default
  --json               everything that was counted`

/** Reads the command line; gives a text to print instead when help is asked for. */
export function readOptions(args: readonly string[]): string | { scenario: Scenario; isJson: boolean } {
  const text = { type: 'string' } as const
  const { values } = parseArgs({
    args: [...args],
    options: {
      nodes: text,
      chunks: text,
      layers: text,
      rate: text,
      upstream: text,
      shares: text,
      slow: text,
      seeds: text,
      liars: text,
      stallers: text,
      churn: text,
      'kill-holder': text,
      silent: { type: 'boolean', default: false },
      'round-trip': text,
      'upstream-delay': text,
      spread: text,
      seed: text,
      json: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  })
  if (values.help) return USAGE
  const number = (value: string | undefined, otherwise: number) => (value === undefined ? otherwise : Number(value))
  const numbers = (value: string | undefined, otherwise: readonly number[]) =>
    value?.split(',').map(Number) ?? otherwise
  const plain = plainScenario
  const [slowNodes, slowRate] = (values.slow ?? '').split('=')
  if (values.slow !== undefined && slowRate === undefined) throw new Error('slow is not N=R; see --help')
  const killed = values['kill-holder']
  const scenario: Scenario = {
    ...plain,
    seed: number(values.seed, plain.seed),
    nodes: number(values.nodes, plain.nodes),
    chunks: numbers(values.chunks, plain.chunks),
    layers: number(values.layers, plain.layers),
    rates: numbers(values.rate, plain.rates),
    upstream: number(values.upstream, plain.upstream),
    shares: numbers(values.shares, plain.shares),
    upstreamDelay: number(values['upstream-delay'], plain.upstreamDelay),
    roundTrip: number(values['round-trip'], plain.roundTrip),
    spread: number(values.spread, plain.spread),
    slow: values.slow === undefined ? plain.slow : { nodes: Number(slowNodes), rate: Number(slowRate) },
    seeds: number(values.seeds, plain.seeds),
    liars: number(values.liars, plain.liars),
    stallers: number(values.stallers, plain.stallers),
    churn: number(values.churn, plain.churn),
    killHolder: killed === undefined ? undefined : Number(killed),
    isSilent: values.silent,
  }
  const wrong = Object.entries(scenario).find(([, value]) =>
    [value, Object.values(value ?? {})].flat().some((one) => Number.isNaN(one)),
  )
  if (wrong !== undefined) throw new Error(`${wrong[0]} is not a number; see --help`)
  return { scenario, isJson: values.json }
}
