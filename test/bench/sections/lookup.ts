import { mkdirSync } from 'node:fs'
import { Agent, get } from 'node:http'
import { join } from 'node:path'
import type { Section } from '../bench.ts'
import { layerUrl, writeBlob } from '../image.ts'
import type { Layerd } from '../layerd.ts'
import { interleave, median, quantile } from '../measure.ts'
import { startFileRegistry } from '../registries.ts'
import { toRow } from '../report.ts'

const NODES = 5
/** Many more than runs of large blobs: a p99 needs them, and each takes milliseconds. */
const REQUESTS_PER_RUN = 60
/** Requests before the measured ones. */
const FIRST_REQUESTS = 50
const BLOB_BYTES = 4096
const REQUEST_DEADLINE_MS = 10_000

const MEDIAN_GOAL_MS = 10
const P99_GOAL_MS = 30

/** What it costs a request that peers are asked first, in vain. */
export const lookup: Section = {
  name: 'lookup',
  title: 'time to first byte that the peer lookup adds when no peer has the blob, with 5 nodes',
  async run(bench) {
    const layout = join(bench.folder, 'layout')
    mkdirSync(join(layout, 'blobs/sha256'), { recursive: true })
    const requests = REQUESTS_PER_RUN * bench.options.runs
    const urls: string[] = []
    for (let index = 0; index < FIRST_REQUESTS + requests; index++) {
      const layer = await writeBlob(layout, BLOB_BYTES, `blob ${index}`)
      urls.push(layerUrl('', { repository: 'bench/lookup', reference: '', layer }))
    }
    await using scope = new AsyncDisposableStack()
    const upstream = scope.use(await startFileRegistry(layout, join(bench.folder, 'upstream.log')))
    const nodes: Layerd[] = []
    for (let index = 0; index < NODES; index++) nodes.push(scope.use(await bench.startLayerd(upstream.url, nodes)))
    for (const node of nodes) await node.connected(NODES - 1)
    const lonely = scope.use(await bench.startLayerd(upstream.url))
    const asked = nodes.at(-1) as Layerd
    bench.log(`${requests} cold blobs of ${BLOB_BYTES} bytes, by a node with ${NODES - 1} peers and by one without`)
    // A connection of its own for each node, as clients keep theirs for the blobs of an image.
    const agent = new Agent({ keepAlive: true, maxSockets: 1 })
    scope.defer(() => agent.destroy())
    for (const url of urls.splice(0, FIRST_REQUESTS)) {
      for (const node of [asked, lonely]) await firstByte(agent, node.url + url)
    }
    const times = await interleave(requests, {
      layerd: (round) => firstByte(agent, asked.url + urls[round]),
      lonely: (round) => firstByte(agent, lonely.url + urls[round]),
    })
    const { fetchedBytes } = (await asked.status()).counters
    if (fetchedBytes.peer > 0) throw new Error('a peer had one of the blobs: this is no miss')
    const rows = [
      { name: 'median', of: median, goal: MEDIAN_GOAL_MS },
      { name: 'p99', of: (values: number[]) => quantile(values, 0.99), goal: P99_GOAL_MS },
    ]
    return rows.map(({ name, of, goal }) => {
      const [withPeers, without] = [of(times.layerd), of(times.lonely)]
      return toRow({
        what: `added by a lookup in vain, ${NODES} nodes, ${name}`,
        unit: 'ms',
        layerd: [withPeers - without],
        goal: { of: 'figure', atMost: goal },
        note: `time to first byte: ${withPeers.toFixed(1)} ms, by a node without peers ${without.toFixed(1)} ms`,
      })
    })
  },
}

/** Milliseconds from sending a request to the first byte of the body. */
function firstByte(agent: Agent, url: string): Promise<number> {
  const { promise, resolve, reject } = Promise.withResolvers<number>()
  const began = performance.now()
  const request = get(url, { agent, signal: AbortSignal.timeout(REQUEST_DEADLINE_MS) }, (response) => {
    let first: number | undefined
    response.on('data', () => {
      first ??= performance.now() - began
    })
    response.on('error', reject)
    response.on('end', () => {
      if (response.statusCode === 200 && first !== undefined) resolve(first)
      else reject(new Error(`${url}: ${response.statusCode}`))
    })
  })
  request.on('error', reject)
  return promise
}
