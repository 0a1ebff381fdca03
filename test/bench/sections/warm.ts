import { join } from 'node:path'
import { megabytes, megabytesPerSecond, type Section } from '../bench.ts'
import { curl } from '../curl.ts'
import { layerUrl, pushImages } from '../image.ts'
import { interleave } from '../measure.ts'
import { startRegistry } from '../registries.ts'
import { type Row, toRow } from '../report.ts'

/** The goal: half of what a registry written in Go gives with sendfile(2). */
const RATE_GOAL = 0.5
const FETCH_GOAL = 1.1

/** What a pull costs when the node already has the blob. */
export const warm: Section = {
  name: 'warm',
  title: 'a warm blob, against the same straight from docker-registry',
  async run(bench) {
    const { runs, size } = bench.options
    const tools = await bench.tools()
    await using upstream = await startRegistry(tools, join(bench.folder, 'upstream'))
    const { image } = await pushImages(join(bench.folder, 'layout'), upstream.url, { image: size })
    await using node = await bench.startLayerd(upstream.url)
    const straight = layerUrl(upstream.url, image)
    const mirrored = layerUrl(node.url, image)
    bench.log(`${runs} x ${megabytes(size)} by curl`)
    // The first run of each is none of the five: it fills layerd, and brings both files into memory.
    for (const url of [straight, mirrored, mirrored]) await curl(url, size)
    const rates = await interleave(runs, {
      layerd: async () => megabytesPerSecond(size, await curl(mirrored, size)),
      straight: async () => megabytesPerSecond(size, await curl(straight, size)),
    })
    const rows: Row[] = [
      toRow({
        what: `warm ${megabytes(size)}, curl`,
        unit: 'MB/s',
        layerd: rates.layerd,
        baseline: { name: 'docker-registry', figures: rates.straight },
        goal: { of: 'ratio', atLeast: RATE_GOAL },
      }),
    ]
    await using containerd = await bench.containerd(tools)
    if (containerd === undefined) return rows
    bench.log(`${runs} x ${megabytes(size)} by ctr content fetch`)
    for (const { url } of [upstream, node]) await containerd.fetch(image.reference, url)
    const times = await interleave(runs, {
      layerd: async () => (await containerd.fetch(image.reference, node.url)) / 1000,
      straight: async () => (await containerd.fetch(image.reference, upstream.url)) / 1000,
    })
    rows.push(
      toRow({
        what: `warm ${megabytes(size)}, ctr content fetch`,
        unit: 's',
        layerd: times.layerd,
        baseline: { name: 'docker-registry', figures: times.straight },
        goal: { of: 'ratio', atMost: FETCH_GOAL },
      }),
    )
    return rows
  },
}
