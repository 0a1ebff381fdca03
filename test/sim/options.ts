import { parseArgs } from 'node:util'
import { NUMBERS, type Numbers } from '../../daemon/share/plan/numbers.ts'
import { plainScenario, type Scenario } from './scenario.ts'

const USAGE = `npm run sim -- [options]
  --nodes N             nodes that fetch, 16 by default
  --size MiB            of all blobs together, 256 by default
  --blobs N | A,B[,...] N blobs of equal size, or blobs in these proportions; 160,72,24 by default
  --rate R              Mbit/s of the nodes, 100 by default
  --down-rate R         Mbit/s of their downlinks, if another
  --upstream-rate R     Mbit/s of upstream, 100 by default
  --upstream-delay MS   until the first byte from upstream, 20 by default
  --sites N             the nodes are at N sites, 1 by default
  --between R           Mbit/s of the line of each site to others, 10 by default
  --upstream-site N     upstream is at this site, from 1 on; otherwise each site has a way of its own to it
  --unknown-sites       nodes don't know at which site they are
  --latency MS          between two nodes, one way, 0.5 by default
  --queue MS            messages wait up to this long where their sender's uplink is busy, 0 by default
  --request MS          a sender's time for each question, 1 by default
  --verify MS           to verify a MiB, 2 by default
  --lists MS            checkpoints are told this often, 50 by default
  --spread MS           nodes begin within this time, 20 by default
  --slow N=R            N nodes have R Mbit/s; the figures are those of the others
  --slow-first          slow nodes ask the coordinator first
  --leave P             this part of the nodes leaves at random times
  --kill-holder P       whoever reads upstream leaves when this part was brought; 0.5 if no P is given
  --silent              whoever leaves does so without its connections being reset
  --staller N           peers that say they have everything, take questions and send nothing
  --false-head N        peers that are first in the queue, and read nothing from upstream
  --silent-peer N       peers that take part and say nothing
  --holder N            nodes that have everything at the start
  --recorded            these are known to the coordinator by its records only
  --ahead MS            nodes know of the blobs for this long before they want them, 0 by default
  --unsized             nodes don't know the sizes of the blobs when they want them
  --lying-coordinator   the coordinator says to all that somebody else reads upstream
  --open                the swarm is open: nodes believe strangers for a while only
  --exact N             rates are exact up to this many nodes, 24 by default
  --seeds N             runs seeds 1 to N, 1 by default
  --seed N              runs this seed only
  --set name=value      another number of the policy; may be given several times
  --json                everything that was counted
Names for --set: ${Object.keys(NUMBERS).join(', ')}`

export interface Options {
  readonly scenario: Scenario
  readonly seeds: readonly number[]
  readonly isJson: boolean
}

/** Reads the command line; gives a text to print instead when help is asked for. @throws {Error} that says what is wrong */
export function readOptions(args: readonly string[]): string | Options {
  const text = { type: 'string' } as const
  const flag = { type: 'boolean', default: false } as const
  const { values } = parseArgs({
    // A part is optional there.
    args: args.flatMap((arg, index) => {
      const isBare = arg === '--kill-holder' && (args[index + 1] ?? '--').startsWith('--')
      return isBare ? [arg, '0.5'] : [arg]
    }),
    options: {
      nodes: text,
      size: text,
      blobs: text,
      rate: text,
      'down-rate': text,
      'upstream-rate': text,
      'upstream-delay': text,
      sites: text,
      between: text,
      'upstream-site': text,
      'unknown-sites': flag,
      latency: text,
      queue: text,
      request: text,
      verify: text,
      lists: text,
      spread: text,
      slow: text,
      'slow-first': flag,
      leave: text,
      'kill-holder': text,
      silent: flag,
      staller: text,
      'false-head': text,
      'silent-peer': text,
      holder: text,
      recorded: flag,
      ahead: text,
      unsized: flag,
      'lying-coordinator': flag,
      open: flag,
      exact: text,
      seeds: text,
      seed: text,
      set: { type: 'string', multiple: true, default: [] },
      json: flag,
      help: flag,
    },
  })
  if (values.help) return USAGE
  const plain = plainScenario
  const [slowNodes, slowRate] = numbers('slow', (values.slow ?? '0=5').split('='))
  const scenario: Scenario = {
    ...plain,
    nodes: number('nodes', values.nodes, plain.nodes),
    blobs: blobsOf(number('size', values.size, 256), numbers('blobs', (values.blobs ?? plain.blobs.join()).split(','))),
    rate: number('rate', values.rate, plain.rate),
    downRate: values['down-rate'] === undefined ? undefined : number('down-rate', values['down-rate'], 0),
    upstreamRate: number('upstream-rate', values['upstream-rate'], plain.upstreamRate),
    upstreamDelay: number('upstream-delay', values['upstream-delay'], plain.upstreamDelay),
    sites: number('sites', values.sites, plain.sites),
    betweenRate: number('between', values.between, plain.betweenRate),
    upstreamSite:
      values['upstream-site'] === undefined ? undefined : number('upstream-site', values['upstream-site'], 1) - 1,
    areSitesKnown: !values['unknown-sites'],
    latency: number('latency', values.latency, plain.latency),
    queue: number('queue', values.queue, plain.queue),
    request: number('request', values.request, plain.request),
    verify: number('verify', values.verify, plain.verify),
    lists: number('lists', values.lists, plain.lists),
    spread: number('spread', values.spread, plain.spread),
    slow: { nodes: slowNodes ?? 0, rate: slowRate ?? 5, isFirst: values['slow-first'] },
    leave: number('leave', values.leave, plain.leave),
    killHolder: values['kill-holder'] === undefined ? undefined : number('kill-holder', values['kill-holder'], 0.5),
    isSilent: values.silent,
    stallers: number('staller', values.staller, plain.stallers),
    falseHeads: number('false-head', values['false-head'], plain.falseHeads),
    silentPeers: number('silent-peer', values['silent-peer'], plain.silentPeers),
    holders: number('holder', values.holder, plain.holders),
    isRecorded: values.recorded,
    ahead: number('ahead', values.ahead, plain.ahead),
    isUnsized: values.unsized,
    isLyingCoordinator: values['lying-coordinator'],
    isOpen: values.open,
    numbers: withSet(values.set),
    exactNodes: number('exact', values.exact, plain.exactNodes),
  }
  const count = number('seeds', values.seeds, 1)
  const seeds =
    values.seed === undefined
      ? Array.from({ length: count }, (_, index) => index + 1)
      : [number('seed', values.seed, 1)]
  return { scenario, seeds, isJson: values.json }
}

function number(name: string, value: string | undefined, otherwise: number): number {
  const read = value === undefined ? otherwise : Number(value)
  if (value === '' || !Number.isFinite(read)) throw new Error(`--${name} takes a number, not '${value}'; see --help`)
  return read
}

function numbers(name: string, values: readonly string[]): number[] {
  return values.map((value) => number(name, value, 0))
}

/** Chunks of each blob. */
function blobsOf(size: number, parts: readonly number[]): number[] {
  const shares = parts.length === 1 ? Array.from({ length: parts[0] ?? 1 }, () => 1) : parts
  const all = shares.reduce((sum, share) => sum + share, 0)
  return shares.map((share) => Math.max(1, Math.round((size * share) / all)))
}

function withSet(sets: readonly string[]): Numbers {
  const changed: Partial<Record<keyof Numbers, number>> = {}
  for (const set of sets) {
    const [name = '', value] = set.split('=')
    if (!isNumber(name) || value === undefined)
      throw new Error(`--set takes name=value with one of ${Object.keys(NUMBERS).join(', ')}; see --help`)
    changed[name] = number('set', value, 0)
  }
  return { ...NUMBERS, ...changed }
}

function isNumber(name: string): name is keyof Numbers {
  return name in NUMBERS
}
