import { spawn } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { exitOf, waitFor } from '../../e2e/exec.ts'
import { type Bench, megabytes, type Section } from '../bench.ts'
import { curl } from '../curl.ts'
import { layerUrl, writeBlob } from '../image.ts'
import type { Layerd } from '../layerd.ts'
import { interleave } from '../measure.ts'
import { peakMemory } from '../proc.ts'
import { type Registry, startFileRegistry } from '../registries.ts'
import { toRow } from '../report.ts'

const GOAL_MB = 200
/** The blob of this section, as a multiple of the others': large enough that a leak of a twentieth shows. */
const TIMES_LARGER = 5
/** Far slower than the fetch, which must not pile up in memory what the client does not take. */
const SLOW_CLIENT = '5M'
const FETCH_DEADLINE_MS = 120_000

/** What a node needs while a large blob passes. */
export const memory: Section = {
  name: 'memory',
  title: 'peak resident memory while a large cold blob passes, also to a slow client that leaves',
  async run(bench) {
    const size = TIMES_LARGER * bench.options.size
    const layout = join(bench.folder, 'layout')
    mkdirSync(join(layout, 'blobs/sha256'), { recursive: true })
    const layer = await writeBlob(layout, size, 'memory')
    const path = layerUrl('', { repository: 'bench/memory', reference: '', layer })
    await using upstream = await startFileRegistry(layout, join(bench.folder, 'upstream.log'))
    bench.log(`${bench.options.runs} x 2 x ${megabytes(size)}, cold`)
    const peaks = await interleave(bench.options.runs, {
      fast: () => peakDuring(bench, upstream, (node) => curl(node.url + path, size)),
      slow: () => peakDuring(bench, upstream, (node) => slowCurl(node, node.url + path, size)),
    })
    const rows = [
      { who: 'curl', peaks: peaks.fast },
      { who: `curl --limit-rate ${SLOW_CLIENT}, stopped early`, peaks: peaks.slow },
    ]
    return rows.map(({ who, peaks }) =>
      toRow({
        what: `peak RSS, cold ${megabytes(size)}, ${who}`,
        unit: 'MB',
        layerd: peaks.map((peak) => peak.passing),
        baseline: { name: 'idle after its start', figures: peaks.map((peak) => peak.idle) },
        goal: { of: 'figure', atMost: GOAL_MB },
        note: `highest of all runs: ${Math.max(...peaks.map((peak) => peak.passing)).toFixed(0)} MB`,
      }),
    )
  },
}

/** Peaks in megabytes: of the start, and of everything until the blob has passed. */
interface Peaks {
  idle: number
  passing: number
}

async function peakDuring(bench: Bench, upstream: Registry, pull: (node: Layerd) => Promise<unknown>): Promise<Peaks> {
  await using node = await bench.startLayerd(upstream.url)
  const idle = (await peakMemory(node.pid)) / 1e6
  await pull(node)
  return { idle, passing: (await peakMemory(node.pid)) / 1e6 }
}

/** A client that takes little and leaves when the node has fetched all. */
async function slowCurl(node: Layerd, url: string, size: number): Promise<void> {
  const client = spawn('curl', ['-q', '-sS', '--noproxy', '*', '--limit-rate', SLOW_CLIENT, '-o', '/dev/null', url])
  try {
    const fetched = async () => (await node.status()).counters.fetchedBytes.upstream >= size
    await waitFor('the fetch of the blob', fetched, FETCH_DEADLINE_MS)
    if (client.exitCode !== null) throw new Error(`the slow client ended by itself (${client.exitCode})`)
  } finally {
    client.kill('SIGKILL')
    await exitOf(client)
  }
}
