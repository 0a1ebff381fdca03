import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { type FleetCase, usualLinks } from './case.ts'

const CONTENDERS = ['layerd', 'direct', 'cache', 'bittorrent'] as const
export type ContenderName = (typeof CONTENDERS)[number]

export interface Options {
  cases: readonly FleetCase[]
  /** Bytes of the image. */
  size: number
  layers: number
  contenders: readonly ContenderName[]
  runs: number
  /** Baselines are cut off after so many limits. */
  giveUp: number
  json: string | undefined
  svg: string | undefined
  /** Whether the daemons' logs are kept. */
  keep: boolean
  /** layerd's source tree. */
  source: string
}

const USAGE = `npm run bench:fleet -- [options]
  --scenario            the standard set of cases, in place of the next four options
  --nodes N,...         nodes, 8 by default; each number is a case
  --upstream-rate R,... Mbit/s of upstream's link, as a node's by default; each number is a case
  --slow K=R            the last K nodes have R Mbit/s
  --sites 2             half of the nodes are at another site, and know it
  --between R           Mbit/s of the line between the sites, 10 by default
  --holder              the first node has the image, and has announced it, before the others ask for it
  --queue MS            what waits in a link's queue at most, 50 by default
  --mtu BYTES           9000 by default, which costs the machine less
  --congestion NAME     cubic by default, or bbr
  --kill                kill -9 the layerd that has fetched most from upstream, at half of the least time
  --rate R              Mbit/s of each node's link, in each direction, 100 by default; where a machine's cores are slower
                        than these links, a lower rate shows what layerd does with links
  --size MIB            size of the image, 256 by default
  --layers L            layers of the image, the first L times as large as the last, 3 by default
  --contenders NAME,... ${CONTENDERS.join(',')} by default
  --runs N              runs of each contender, in turn, 1 by default
  --give-up X           cut baselines off after X times the least time, 3 by default
  --json FILE           write the results there
  --svg FILE            draw the progress of all nodes of the last runs there
  --keep                keep the logs of all daemons and say where
  --source DIR          layerd's source tree, by default this one: to compare revisions`

/** The standard set: equal links, a slow upstream, a death, a slow node. */
const scenario = (rate: number): Partial<FleetCase>[] => [
  { nodes: 8 },
  { nodes: 16 },
  { nodes: 8, upstreamRate: rate / 5 },
  { nodes: 16, upstreamRate: rate / 5 },
  { nodes: 8, kill: true },
  { nodes: 8, slow: { count: 1, rate: rate / 20 } },
]
const DEFAULT_NODES = 8
const DEFAULT_RATE = 100
const DEFAULT_BETWEEN = 10
/** Addresses are given for so many; no machine runs more. */
const MOST_NODES = 200

/**
 * Reads the command line. Gives a text to print instead when help is asked for.
 *
 * @throws Error that says which argument is wrong.
 */
export function readOptions(args: readonly string[]): Options | string {
  const { values } = parseArgs({
    args: [...args],
    options: {
      scenario: { type: 'boolean', default: false },
      nodes: { type: 'string' },
      rate: { type: 'string' },
      'upstream-rate': { type: 'string' },
      slow: { type: 'string' },
      sites: { type: 'string' },
      between: { type: 'string' },
      holder: { type: 'boolean' },
      queue: { type: 'string' },
      mtu: { type: 'string' },
      congestion: { type: 'string' },
      kill: { type: 'boolean' },
      size: { type: 'string', default: '256' },
      layers: { type: 'string', default: '3' },
      contenders: { type: 'string', default: CONTENDERS.join(',') },
      runs: { type: 'string', default: '1' },
      'give-up': { type: 'string', default: '3' },
      json: { type: 'string' },
      svg: { type: 'string' },
      keep: { type: 'boolean', default: false },
      source: { type: 'string', default: join(import.meta.dirname, '../../..') },
      help: { type: 'boolean', default: false },
    },
  })
  if (values.help) return USAGE
  return {
    cases: casesOf(values),
    size: wholeNumber('--size', values.size) * 1024 * 1024,
    layers: wholeNumber('--layers', values.layers),
    contenders: values.contenders.split(',').map(contender),
    runs: wholeNumber('--runs', values.runs),
    giveUp: positive('--give-up', values['give-up']),
    json: values.json && resolve(values.json),
    svg: values.svg && resolve(values.svg),
    keep: values.keep,
    source: resolve(values.source),
  }
}

interface CaseFlags {
  scenario: boolean
  nodes?: string | undefined
  rate?: string | undefined
  'upstream-rate'?: string | undefined
  slow?: string | undefined
  sites?: string | undefined
  between?: string | undefined
  holder?: boolean | undefined
  queue?: string | undefined
  mtu?: string | undefined
  congestion?: string | undefined
  kill?: boolean | undefined
}

function linksOf({
  queue,
  mtu,
  congestion = 'cubic',
}: Omit<CaseFlags, 'scenario'>): Pick<FleetCase, 'queue' | 'mtu' | 'congestion'> {
  if (congestion !== 'cubic' && congestion !== 'bbr') throw new Error(`--congestion ${congestion}: cubic or bbr`)
  return {
    queue: positive('--queue', queue ?? String(usualLinks.queue)),
    mtu: wholeNumber('--mtu', mtu ?? String(usualLinks.mtu)),
    congestion,
  }
}

function casesOf({ scenario: isScenario, rate: rateText, ...flags }: CaseFlags): FleetCase[] {
  const rate = positive('--rate', rateText ?? String(DEFAULT_RATE))
  const links = linksOf(flags)
  if (isScenario) {
    const given = (['nodes', 'upstream-rate', 'slow', 'sites', 'between', 'holder', 'kill'] as const).find(
      (name) => flags[name] !== undefined,
    )
    if (given) throw new Error(`--scenario says what --${given} would`)
    const usual = { nodes: DEFAULT_NODES, rate, upstreamRate: rate, slow: undefined, between: undefined }
    return scenario(rate).map((difference) => ({ ...usual, ...links, hasHolder: false, kill: false, ...difference }))
  }
  if (![undefined, '2'].includes(flags.sites))
    throw new Error(`--sites ${flags.sites}: the bench has 2, or no line between`)
  if (flags.between !== undefined && flags.sites === undefined) throw new Error('--between needs --sites 2')
  const between =
    flags.sites === undefined ? undefined : positive('--between', flags.between ?? String(DEFAULT_BETWEEN))
  const upstreamRates = (flags['upstream-rate'] ?? String(rate)).split(',')
  return (flags.nodes ?? String(DEFAULT_NODES)).split(',').flatMap((text) => {
    const nodes = wholeNumber('--nodes', text)
    if (nodes < 2 || nodes > MOST_NODES) throw new Error(`--nodes ${text}: 2 to ${MOST_NODES}`)
    const slow = flags.slow === undefined ? undefined : slowNodes(flags.slow, nodes)
    return upstreamRates.map((upstream) => ({
      ...{ nodes, rate, slow, between, ...links, hasHolder: flags.holder ?? false, kill: flags.kill ?? false },
      upstreamRate: positive('--upstream-rate', upstream),
    }))
  })
}

function slowNodes(text: string, nodes: number): { count: number; rate: number } {
  const [count = '', rate = ''] = text.split('=')
  const slow = { count: wholeNumber('--slow', count), rate: positive('--slow', rate) }
  if (slow.count > nodes - 2) throw new Error(`--slow ${text}: two nodes must be left that are not`)
  return slow
}

function contender(name: string): ContenderName {
  const known = CONTENDERS.find((candidate) => candidate === name)
  if (known === undefined) throw new Error(`--contenders ${name}: there are ${CONTENDERS.join(', ')}`)
  return known
}

function wholeNumber(flag: string, text: string): number {
  if (!/^[1-9]\d{0,5}$/.test(text)) throw new Error(`${flag} ${text}: a positive whole number is needed`)
  return Number(text)
}

function positive(flag: string, text: string): number {
  const number = Number(text)
  if (!(number > 0 && number < 1e6)) throw new Error(`${flag} ${text}: a positive number is needed`)
  return number
}
