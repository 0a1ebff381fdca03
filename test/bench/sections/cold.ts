import { join } from 'node:path'
import type { Tools } from '../../e2e/debian.ts'
import { type Bench, megabytes, type Section } from '../bench.ts'
import { curl, curlAtOnce } from '../curl.ts'
import { type BenchImage, layerUrl, pushImages } from '../image.ts'
import { interleave } from '../measure.ts'
import { settledBytes } from '../proc.ts'
import { type Registry, startNginx, startRegistry } from '../registries.ts'
import { type Row, toRow } from '../report.ts'

/** The goal, for what a user calls a pull. */
const FETCH_GOAL = 1.15
/** Clients that ask for the same blob in the same moment. */
const CLIENTS = 4
/** A blob that each cache passes first, so that its code is loaded and compiled as in a process that has run for a while. */
const FIRST_BYTES = 32_000_000

const BASELINES = {
  straight: 'docker-registry',
  registryCache: 'docker-registry as cache',
  nginx: 'nginx proxy_cache',
} as const

interface Pull {
  seconds: number
  /** Bytes that upstream sent for it, in megabytes. */
  fetched: number
}

type Results = Record<'layerd' | keyof typeof BASELINES, Pull[]>

interface Sources {
  bench: Bench
  tools: Tools
  upstream: Registry
  image: BenchImage
  first: BenchImage
}

/** What a pull costs when the node has nothing yet, and what it costs upstream. */
export const cold: Section = {
  name: 'cold',
  title: 'a cold pull, against straight from docker-registry and two pull-through caches, with bytes from upstream',
  async run(bench) {
    const { size } = bench.options
    const tools = await bench.tools()
    await using upstream = await startRegistry(tools, join(bench.folder, 'upstream'))
    const images = await pushImages(join(bench.folder, 'layout'), upstream.url, { image: size, first: FIRST_BYTES })
    const sources: Sources = { bench, tools, upstream, ...images }
    await using containerd = await bench.containerd(tools)
    const { image } = images
    const rows: Row[] = []
    if (containerd !== undefined) {
      const results = await pulls(sources, (url) => containerd.fetch(image.reference, url), 'ctr content fetch')
      rows.push(...rowsOf(results, `cold ${megabytes(size)}, ctr content fetch`, FETCH_GOAL))
    }
    const one = await pulls(sources, (url) => curl(layerUrl(url, image), size), 'curl')
    rows.push(...rowsOf(one, `cold ${megabytes(size)}, curl`))
    const many = await pulls(
      sources,
      (url) => curlAtOnce(CLIENTS, layerUrl(url, image), size),
      `${CLIENTS} curl at once`,
    )
    rows.push(...rowsOf(many, `cold ${megabytes(size)}, ${CLIENTS} curl at once`))
    const [last] = rows.slice(-1)
    if (last)
      last.note = "bytes from upstream: growth of wchar in /proc/PID/io of upstream's process, which writes no log"
    return rows
  },
}

/** Pulls the image in one way through each contender in turn. Each pull is through a new process with an empty cache. */
function pulls(sources: Sources, pull: (url: string) => Promise<number>, how: string): Promise<Results> {
  const { bench, tools, upstream } = sources
  bench.log(`${bench.options.runs} x 4 cold pulls, ${how}`)
  const folder = join(bench.folder, 'cache')
  return interleave(bench.options.runs, {
    layerd: () => coldPull(sources, () => bench.startLayerd(upstream.url), pull),
    straight: () => coldPull(sources, async () => ({ ...upstream, [Symbol.asyncDispose]: async () => {} }), pull),
    registryCache: () => coldPull(sources, () => startRegistry(tools, folder, upstream.url), pull),
    nginx: () => coldPull(sources, () => startNginx(tools, folder, upstream.url), pull),
  })
}

async function coldPull(
  { upstream, first }: Sources,
  start: () => Promise<AsyncDisposable & { url: string }>,
  pull: (url: string) => Promise<number>,
): Promise<Pull> {
  await using contender = await start()
  await curl(layerUrl(contender.url, first), FIRST_BYTES)
  const before = await settledBytes(upstream.pid)
  const ms = await pull(contender.url)
  // Some fetch on after their client has all that it asked for.
  return { seconds: ms / 1000, fetched: ((await settledBytes(upstream.pid)) - before) / 1e6 }
}

function rowsOf(results: Results, what: string, goal?: number): Row[] {
  const rows: Row[] = []
  for (const [key, name] of Object.entries(BASELINES) as [keyof typeof BASELINES, string][]) {
    rows.push(
      toRow({
        what,
        unit: 's',
        layerd: results.layerd.map((pull) => pull.seconds),
        baseline: { name, figures: results[key].map((pull) => pull.seconds) },
        ...(goal !== undefined && key === 'straight' && { goal: { of: 'ratio', atMost: goal } }),
      }),
    )
  }
  for (const [key, name] of Object.entries(BASELINES) as [keyof typeof BASELINES, string][]) {
    rows.push(
      toRow({
        what: '  bytes from upstream for it',
        unit: 'MB',
        layerd: results.layerd.map((pull) => pull.fetched),
        baseline: { name, figures: results[key].map((pull) => pull.fetched) },
      }),
    )
  }
  return rows
}
