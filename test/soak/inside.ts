import { randomBytes } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { waitFor } from '../e2e/exec.ts'
import { jail } from '../e2e/jail.ts'
import { Account } from './account.ts'
import { Client, type Pulls } from './client.ts'
import { compareStores } from './compare.ts'
import { Disk } from './disk.ts'
import { Draw } from './draw.ts'
import { FAULTS } from './faults/all.ts'
import { letHappen } from './happen.ts'
import { Health } from './health.ts'
import { Images } from './images.ts'
import { Journal } from './journal.ts'
import { Lan } from './lan.ts'
import { warningsIn } from './logs.ts'
import { Node } from './node.ts'
import { type Options, readOptions } from './options.ts'
import { type Result, spreadOf } from './report.ts'
import { schedule } from './schedule.ts'
import { Troubles } from './troubles.ts'
import { Upstream } from './upstream.ts'
import type { World } from './world.ts'

// The run itself, which main.ts starts inside a jail. The result goes into the folder of the logs, which outlives the jail, and is
// written again and again, so that one that is cut off has one, too.

/** How often the fleet is looked at, in ms. */
const LOOK_MS = 1_000
/** How often the result is written, in ms. */
const RESULT_MS = 10_000
/** Mean time between two builds of an image, in ms. */
const REBUILD_MS = 25_000
/** Until all nodes are up and see each other at first, in ms. */
const START_MS = 300_000
/** Sizes of disks in MiB: smaller than what the images need in the course of time, so that blobs are evicted. */
const DISK = [100, 200] as const
/** Nodes that the others have as seeds. All find each other by multicast DNS as well. */
const SEEDS = 2
/** Unexplained bytes that are allowed, as a part of those that were given for the first time: chunks that were raced for. */
const UNEXPLAINED_PART = 0.05

interface Counts {
  readonly pulls: Pulls
  readonly health: Health
  readonly account: Account
  readonly faults: Record<string, number>
}

async function soak(options: Options): Promise<boolean> {
  const { world, counts } = await raise(options)
  const { nodes, journal } = world
  const isWhole = await run(world, counts)
  await Promise.all(nodes.map((node) => end(node, journal)))
  const compared = await compareStores(world)
  const { unexplained, first } = counts.account.ledger.sums
  if (unexplained.bytes > UNEXPLAINED_PART * first.bytes)
    journal.violate('upstream gave too much', 'fleet', `${unexplained.bytes} bytes again, though another node had them`)
  write(world, counts, await logged(nodes), compared, isWhole)
  return journal.violations.length === 0
}

/** A fleet whose nodes see each other, and a registry with images. */
async function raise(options: Options): Promise<{ world: World; counts: Counts }> {
  const here = jail()
  const { folder, seed } = options
  if (here === undefined || folder === undefined)
    throw new Error('run it by npm run soak: it makes networks and disks, and only in a jail they go away with it')
  const { work, tools } = here
  const journal = new Journal(folder, console.log)
  const names = Array.from({ length: options.nodes }, (_, index) => `node${index + 1}`)
  const lan = await Lan.build(names)
  let account: Account | undefined
  const upstream = await Upstream.start(tools, join(work, 'upstream'), folder, seed, (event) => account?.hear(event))
  const images = new Images(join(work, 'layout'), new Draw(seed, 'images'), (layout) => upstream.push(layout))
  await images.fill()
  // Each node has a file of its own mounted over it.
  await writeFile('/etc/machine-id', '')
  const draw = new Draw(seed, 'fleet')
  const nodes = await Promise.all(
    names.map((name, index) => makeNode({ name, index, lan, draw, journal, folder, work })),
  )
  const world: World = { options, lan, upstream, nodes, images, troubles: new Troubles(), journal }
  account = new Account(world)
  const pulls: Pulls = {
    ...{ images: 0, blobs: 0, bytes: 0, ranges: 0, heads: 0, tags: 0, hangUps: 0 },
    ...{ failed: new Map<string, number>(), times: [] },
  }
  for (const node of nodes) node.start()
  await waitFor('all nodes see each other', () => haveMet(nodes), START_MS)
  return { world, counts: { pulls, account, health: new Health(world), faults: {} } }
}

/** Lets faults happen, clients pull and images be built, for as long as was asked for. @returns whether it was not cut off */
async function run(world: World, counts: Counts): Promise<boolean> {
  const { options, journal, nodes } = world
  const seconds = options.minutes * 60
  const control = new AbortController()
  const { signal } = control
  process.once('SIGTERM', () => control.abort()).once('SIGINT', () => control.abort())
  journal.begin()
  const planned = schedule(FAULTS, { ...options, seconds })
  for (const fault of planned) journal.note('planned', fault)
  const running = [
    repeat(LOOK_MS, () => counts.health.look(), signal),
    repeat(RESULT_MS, async () => write(world, counts, await logged(nodes), 0, false), signal),
    rebuildNowAndThen(world, signal),
    ...nodes.map((node) => new Client(world, node, counts.pulls).run(signal)),
    letHappen(world, planned, counts.faults, signal).catch(() => {}),
  ]
  await delay(seconds * 1000, undefined, { signal }).catch(() => {})
  const isWhole = !signal.aborted
  control.abort()
  await Promise.all(running)
  return isWhole
}

async function end(node: Node, journal: Journal): Promise<void> {
  node.thaw()
  const problem = await node.stop()
  if (problem !== undefined) journal.violate('a node does not do what it is told', node.name, problem)
}

interface NodePlace {
  readonly name: string
  readonly index: number
  readonly lan: Lan
  readonly draw: Draw
  readonly journal: Journal
  readonly folder: string
  readonly work: string
}

async function makeNode({ name, index, lan, draw, journal, folder, work }: NodePlace): Promise<Node> {
  const size = Math.round(draw.between(...DISK))
  const disk = await Disk.make(index % 2 === 0 ? 'ext4' : 'tmpfs', join(work, name), size)
  const machineId = join(work, `${name}.machine-id`)
  await writeFile(machineId, `${randomBytes(16).toString('hex')}\n`)
  await mkdir(join(disk.folder, 'data'))
  // An open swarm would hear nothing of a registry that is not Docker Hub at its own address.
  const swarmKey = join(work, `${name}.swarm.key`)
  await writeFile(swarmKey, `/key/swarm/psk/1.0.0/\n/base16/\n${'5c'.repeat(32)}\n`, { mode: 0o600 })
  const seeds = Array.from({ length: SEEDS }, (_, seed) => lan.address(`node${seed + 1}`))
  const flags = [
    ...['--registry', `docker.io=${Upstream.url}`, '--swarm-key', swarmKey],
    ...seeds.flatMap((address) => (address === lan.address(name) ? [] : ['--seed', `${address}:4050`])),
  ]
  journal.note('node', { name, disk: `${size} MiB of ${disk.kind}`, flags })
  return new Node(name, disk, machineId, join(folder, `${name}.log`), flags, (node, how) =>
    journal.violate('a node has ended by itself', node.name, how),
  )
}

async function haveMet(nodes: readonly Node[]): Promise<boolean> {
  const counts = await Promise.all(
    nodes.map((node) =>
      node.status().then(
        ({ peers }) => peers.filter(({ transfer }) => transfer).length,
        () => 0,
      ),
    ),
  )
  return counts.every((count) => count === nodes.length - 1)
}

async function rebuildNowAndThen({ images, journal, options }: World, signal: AbortSignal): Promise<void> {
  const draw = new Draw(options.seed, 'rebuild')
  while (!signal.aborted) {
    await delay(draw.pause(REBUILD_MS), undefined, { signal }).catch(() => {})
    if (signal.aborted) return
    await images.rebuild().then(
      (repository) => journal.note('built anew', { repository }),
      (error) => journal.violate('the registry fails', 'upstream', String(error)),
    )
  }
}

async function repeat(ms: number, work: () => Promise<void>, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    await work()
    await delay(ms, undefined, { signal }).catch(() => {})
  }
}

async function logged(nodes: readonly Node[]): Promise<Record<string, number>> {
  const counts = new Map<string, number>()
  for (const node of nodes) await warningsIn(node.log, counts)
  return Object.fromEntries(counts)
}

function write(
  world: World,
  counts: Counts,
  warnings: Record<string, number>,
  compared: number,
  isWhole: boolean,
): void {
  const { options, journal } = world
  const { pulls, health, account, faults } = counts
  const { failed, times, ...rest } = pulls
  const result: Result = {
    ...{ options, isWhole, faults, compared },
    seconds: journal.now,
    pulls: { ...rest, times: spreadOf(times) },
    failed: Object.fromEntries(failed),
    upstream: { bytes: account.ledger.sums, requests: Object.fromEntries(account.requests) },
    peaks: Object.fromEntries(health.peaks),
    load: health.load,
    logged: warnings,
    violations: journal.violations,
    violationCounts: Object.fromEntries(journal.counts),
    folder: options.folder ?? '',
  }
  writeFileSync(join(options.folder ?? '', 'report.json'), `${JSON.stringify(result, undefined, 1)}\n`)
}

const options = readOptions(process.argv.slice(2))
if (typeof options === 'string' || !(await soak(options))) process.exitCode = 1
// Agents and fronts of namespaces would keep it.
process.exit()
