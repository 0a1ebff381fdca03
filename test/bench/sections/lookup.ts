import { mkdirSync } from 'node:fs'
import { Agent, get } from 'node:http'
import { join } from 'node:path'
import type { Section } from '../bench.ts'
import { layerUrl, writeBlob } from '../image.ts'
import type { Layerd } from '../layerd.ts'
import { interleave, median, quantile } from '../measure.ts'
import { startFileRegistry } from '../registries.ts'
import { type Row, toRow } from '../report.ts'

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
    for (let index = 0; index < FIRST_REQUESTS + 2 * requests; index++) {
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
    // A connection of its own for each node, as clients keep theirs for the blobs of an image.
    const agent = new Agent({ keepAlive: true, maxSockets: 1 })
    scope.defer(() => agent.destroy())
    const paths = urls.values()
    let given = 0
    /** A blob that nobody has asked for yet, once by each of the two nodes. */
    const both = (count: number, between: () => Promise<void>) => {
      const next = Array.from({ length: count }, () => paths.next().value)
      return interleave(count, {
        async layerd(round) {
          await between()
          given++
          return firstByte(agent, asked.url + next[round])
        },
        async lonely(round) {
          await between()
          return firstByte(agent, lonely.url + next[round])
        },
      })
    }
    await both(FIRST_REQUESTS, async () => {})
    bench.log(`2 x ${requests} cold blobs of ${BLOB_BYTES} bytes, by a node with ${NODES - 1} peers and by one without`)
    const rows = [
      ...rowsOf('alone', await both(requests, () => asked.announced(given))),
      ...rowsOf('while those before are announced', await both(requests, async () => {})),
    ]
    const { fetchedBytes } = (await asked.status()).counters
    if (fetchedBytes.peer > 0) throw new Error('a peer had one of the blobs: this is no miss')
    return rows
  },
}

function rowsOf(when: string, { layerd, lonely }: Record<'layerd' | 'lonely', readonly number[]>): Row[] {
  const statistics = [
    { name: 'median', of: median, goal: MEDIAN_GOAL_MS },
    { name: 'p99', of: (values: readonly number[]) => quantile(values, 0.99), goal: P99_GOAL_MS },
  ]
  return statistics.map(({ name, of, goal }) =>
    toRow({
      what: `added by a lookup in vain, ${NODES} nodes, ${when}, ${name}`,
      unit: 'ms',
      layerd: [of(layerd) - of(lonely)],
      goal: { of: 'figure', atMost: goal },
      note: `time to first byte: ${of(layerd).toFixed(1)} ms, by a node without peers ${of(lonely).toFixed(1)} ms`,
    }),
  )
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
