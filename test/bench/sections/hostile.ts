import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { digestOf, hexOf } from '../../../proxy/oci/digest.ts'
import { TestSwarm, transferPeers, until } from '../../fixtures/swarm.ts'
import { addImage, type Image, pull } from '../../hostile/image.ts'
import { type Gang, HOSTILE_KINDS, type HostileKind, HostilePeer, newGang } from '../../hostile/peer.ts'
import type { Bench, Section } from '../bench.ts'
import type { Layerd } from '../layerd.ts'
import { median } from '../measure.ts'
import { cpuSeconds } from '../proc.ts'
import { startFileRegistry } from '../registries.ts'
import { type Row, toRow } from '../report.ts'

/** Hostile peers of one kind at the same time. */
const COUNTS = [1, 3, 8, 32]

/** How much longer a pull may take than without them, in seconds, or by this factor: whichever is more. */
const LONGER_S = 2
const LONGER_BY = 1.2

/** How long it may take where upstream is down and one honest peer has it, in seconds. */
const DOWN_S = 10

const BASELINE_PULLS = 3
const MEET_DEADLINE_MS = 60_000

/** What the hostile peers are, and what the table calls it. */
interface Attack {
  readonly what: string
  readonly kindOf: (index: number) => HostileKind
}

const ATTACKS: readonly Attack[] = [
  ...HOSTILE_KINDS.map((kind): Attack => ({ what: kind, kindOf: () => kind })),
  { what: 'of all kinds', kindOf: (index) => HOSTILE_KINDS[index % HOSTILE_KINDS.length] ?? 'mute' },
]

/**
 * What a pull takes while peers do what they can against it. LAYERD_BENCH_HOSTILE names attacks, LAYERD_BENCH_COUNTS says how many peers
 * of each; all by default.
 */
export const hostile: Section = {
  name: 'hostile',
  title: `a pull of a 12 MiB image among ${COUNTS.join(', ')} hostile peers of each kind, with upstream and without`,
  async run(bench) {
    const named = process.env.LAYERD_BENCH_HOSTILE?.split(',')
    const counts = process.env.LAYERD_BENCH_COUNTS?.split(',').map(Number) ?? COUNTS
    const attacks = ATTACKS.filter(({ what }) => named?.includes(what) ?? true)
    const swarm = new TestSwarm()
    const gang = newGang()
    const rows: Row[] = []
    try {
      for (const count of counts) {
        while (gang.peers.length < count) await HostilePeer.join(gang, swarm)
        const base = median(await repeated(BASELINE_PULLS, () => undisturbed(bench)))
        for (const attack of attacks) {
          if (attack.what === 'of all kinds' && count === 1) continue
          rows.push(await measure(bench, gang, attack, true, base), await measure(bench, gang, attack, false, base))
        }
      }
    } finally {
      await swarm.close()
    }
    return rows
  },
}

async function repeated<T>(times: number, run: () => Promise<T>): Promise<T[]> {
  const all: T[] = []
  while (all.length < times) all.push(await run())
  return all
}

async function measure(bench: Bench, gang: Gang, attack: Attack, hasUpstream: boolean, base: number): Promise<Row> {
  const what = `${gang.peers.length} ${attack.what}${hasUpstream ? '' : ', upstream down'}`
  const atMost = hasUpstream ? Math.max(base + LONGER_S, LONGER_BY * base) : DOWN_S
  const { seconds, note } = await attacked(bench, gang, attack, hasUpstream)
  bench.log(`${what}: ${seconds.toFixed(1)} s (${note}), without them ${base.toFixed(1)} s`)
  return toRow({
    what,
    unit: 's',
    layerd: [seconds],
    baseline: { name: 'without them', figures: [base] },
    goal: { of: 'figure', atMost },
    note,
  })
}

/** Seconds of a pull from upstream, with no peer around. */
async function undisturbed(bench: Bench): Promise<number> {
  const layout = new Layout(bench)
  await using scope = new AsyncDisposableStack()
  const upstream = scope.use(await startFileRegistry(layout.folder, join(bench.folder, 'upstream.log')))
  const node = scope.use(await bench.startLayerd(upstream.url))
  const image = await addImage(layout, newGang(), (await node.status()).peerId)
  return (await pull(node.url, image)).ms / 1000
}

async function attacked(bench: Bench, gang: Gang, { kindOf }: Attack, hasUpstream: boolean) {
  const layout = new Layout(bench)
  await using scope = new AsyncDisposableStack()
  const start = async () => scope.use(await startFileRegistry(layout.folder, join(bench.folder, 'upstream.log')))
  const upstream = await start()
  const honest = hasUpstream ? undefined : scope.use(await bench.startLayerd((await start()).url))
  const seeds = [...gang.peers.map(({ node }) => node.address()), ...(honest === undefined ? [] : [honest.multiaddr])]
  const settings = { LAYERD_SWARM_SEEDS: seeds.join(',') }
  const node = scope.use(await bench.startLayerd(upstream.url, [], undefined, settings))
  await node.connected(seeds.length)
  for (const [index, peer] of gang.peers.entries()) {
    peer.rest()
    peer.kind = kindOf(index)
    await until(() => transferPeers(peer.node) > 0, MEET_DEADLINE_MS)
  }
  const image = await addImage(layout, gang, (await node.status()).peerId)
  for (const peer of gang.peers) await peer.announce([image.manifest, ...image.blobs])
  if (honest !== undefined) await give(honest, image)
  if (!hasUpstream) await upstream[Symbol.asyncDispose]()
  return await timed(node, image)
}

/** An honest peer gets an image, and announces it. */
async function give(honest: Layerd, image: Image): Promise<void> {
  await pull(honest.url, image)
  await honest.announced(1 + image.blobs.length)
}

async function timed(node: Layerd, image: Image): Promise<{ seconds: number; note: string }> {
  const before = process.cpuUsage()
  const ofNode = await cpuSeconds(node.pid)
  const since = performance.now()
  const share = () => {
    const { user, system } = process.cpuUsage(before)
    return ((user + system) / 1000 / (performance.now() - since)).toFixed(2)
  }
  try {
    const { ms, took } = await pull(node.url, image)
    const others = share()
    const own = (((await cpuSeconds(node.pid)) - ofNode) / (ms / 1000)).toFixed(2)
    const note = `${took.join(', ')} ms; of a core the node took ${own}, the peers and the client ${others}`
    return { seconds: ms / 1000, note }
  } catch (error) {
    return { seconds: Number.POSITIVE_INFINITY, note: `NOT RIGHT at the first try: ${(error as Error).message}` }
  }
}

/** Blobs in a folder, which a registry gives at once. */
class Layout {
  readonly folder: string
  readonly #blobs: string

  constructor(bench: Bench) {
    this.folder = join(bench.folder, 'layout')
    this.#blobs = join(this.folder, 'blobs/sha256')
    mkdirSync(this.#blobs, { recursive: true })
  }

  addBlob(bytes: Buffer) {
    const digest = digestOf(bytes)
    writeFileSync(join(this.#blobs, hexOf(digest)), bytes)
    return digest
  }

  addManifest(bytes: Buffer) {
    return this.addBlob(bytes)
  }
}
