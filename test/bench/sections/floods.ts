import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { waitFor } from '../../e2e/exec.ts'
import type { Section } from '../bench.ts'
import { Child } from '../child.ts'
import { layerUrl, writeBlob } from '../image.ts'
import type { Layerd } from '../layerd.ts'
import { quantile } from '../measure.ts'
import { cpuSeconds, peakMemory } from '../proc.ts'
import { startFileRegistry } from '../registries.ts'
import { toRow } from '../report.ts'

const PEERS = 8
const FLOOD_MS = 60_000
const BLOB_BYTES = 1_000_000
const GOAL_MB = 300
const GOAL_MS = 100

const STATUS_DEADLINE_MS = 30_000

/** Between two requests of the client, in ms. */
const PAUSE_MS = 20

/** What clients see of peers that send without end. */
export const floods: Section = {
  name: 'floods',
  title: `a warm ${BLOB_BYTES / 1e6} MB while ${PEERS} peers send whatever they can for ${FLOOD_MS / 1000} s`,
  async run(bench) {
    const layout = join(bench.folder, 'layout')
    mkdirSync(join(layout, 'blobs/sha256'), { recursive: true })
    const layer = await writeBlob(layout, BLOB_BYTES, 'floods')
    await using scope = new AsyncDisposableStack()
    const upstream = scope.use(await startFileRegistry(layout, join(bench.folder, 'upstream.log')))
    const node = scope.use(await bench.startLayerd(upstream.url))
    const url = layerUrl(node.url, { repository: 'bench/floods', reference: '', layer })
    await get(url)
    const quiet = await getsFor(url, FLOOD_MS / 10)
    bench.log(`${PEERS} peers for ${FLOOD_MS / 1000} s`)
    // On machines of their own they would take nothing from the node; here it goes first.
    const attack = scope.use(
      new Child('flooder', join(bench.folder, 'flooder.log'), 'nice', [
        '-n',
        '10',
        process.execPath,
        join(import.meta.dirname, '../flooder.ts'),
        node.multiaddr,
        String(PEERS),
      ]),
    )
    const before = await cpuSeconds(node.pid)
    const loud = await getsFor(url, FLOOD_MS)
    const took = { node: (await cpuSeconds(node.pid)) - before, attack: await cpuSeconds(attack.pid) }
    await attack.stop()
    return [
      toRow({
        what: 'warm GET, 99th percentile',
        unit: 'ms',
        layerd: [quantile(loud, 0.99)],
        baseline: { name: 'without peers', figures: [quantile(quiet, 0.99)] },
        goal: { of: 'figure', atMost: GOAL_MS },
        note: [
          `${loud.length} requests, the slowest ${Math.max(...loud).toFixed(0)} ms; ${await bannedAt(node)} peers banned;`,
          `of a core the node took ${share(took.node)}, those who flood ${share(took.attack)}`,
        ].join(' '),
      }),
      toRow({
        what: 'peak RSS',
        unit: 'MB',
        layerd: [(await peakMemory(node.pid)) / 1e6],
        goal: { of: 'figure', atMost: GOAL_MB },
      }),
    ]
  },
}

const share = (seconds: number) => (seconds / (FLOOD_MS / 1000)).toFixed(2)

async function bannedAt(node: Layerd): Promise<number> {
  let banned: number | undefined
  const isTold = async () => {
    banned = await node.status().then(
      ({ banned: all }) => all.length,
      () => undefined,
    )
    return banned !== undefined
  }
  await waitFor('the status of the node', isTold, STATUS_DEADLINE_MS)
  return banned ?? 0
}

/** How long requests one after the other take, in ms. */
async function getsFor(url: string, ms: number): Promise<number[]> {
  const taken: number[] = []
  const end = performance.now() + ms
  while (performance.now() < end) {
    const began = performance.now()
    await get(url)
    taken.push(performance.now() - began)
    await delay(PAUSE_MS)
  }
  return taken
}

async function get(url: string): Promise<void> {
  const response = await fetch(url).catch((error: Error) => {
    throw new Error(`${error.message}: ${error.cause}`)
  })
  const { byteLength } = await response.arrayBuffer()
  if (response.status !== 200 || byteLength !== BLOB_BYTES) throw new Error(`${response.status}, ${byteLength} bytes`)
}
