import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { freePort, run } from '../../e2e/exec.ts'
import { type Bench, megabytes, type Section } from '../bench.ts'
import { accepts, Child } from '../child.ts'
import { curl } from '../curl.ts'
import { type BenchImage, layerUrl, writeBlob } from '../image.ts'
import type { Layerd } from '../layerd.ts'
import { interleave } from '../measure.ts'
import { startFileRegistry } from '../registries.ts'
import { toRow } from '../report.ts'

const REPOSITORY = 'bench/peer'
const SENDER = join(import.meta.dirname, '../https-sender.ts')
const RECEIVER = join(import.meta.dirname, '../https-receiver.ts')

/** Node B from node A while upstream is off. */
export const peer: Section = {
  name: 'peer',
  title: 'node B from node A with upstream stopped, against a plain HTTPS transfer with a hash',
  async run(bench) {
    const { runs, size } = bench.options
    const layout = join(bench.folder, 'layout')
    mkdirSync(join(layout, 'blobs/sha256'), { recursive: true })
    const image = await imageOf(layout, size, 'image')
    const first = await imageOf(layout, 32_000_000, 'first')
    bench.log(`${runs} x ${megabytes(size)} from peer to peer`)
    let upstreamUrl: string
    await using scope = new AsyncDisposableStack()
    let a: Layerd
    {
      await using upstream = await startFileRegistry(layout, join(bench.folder, 'upstream.log'))
      upstreamUrl = upstream.url
      a = scope.use(await bench.startLayerd(upstreamUrl))
      for (const { layer } of [first, image]) await curl(layerUrl(a.url, { ...image, layer }), layer.size)
    }
    await a.announced(2)
    const port = await freePort()
    const file = join(layout, 'blobs/sha256', image.layer.digest.slice('sha256:'.length))
    const log = join(bench.folder, 'sender.log')
    const sender = scope.use(new Child('HTTPS sender', log, process.execPath, [SENDER, file, String(port)]))
    await sender.ready(() => accepts(port))
    const plain = async () => Number(await run(process.execPath, [RECEIVER, String(port), image.layer.digest])) / 1000
    await plain()
    const times = await interleave(runs, {
      native: () => fromPeer(bench, { a, upstreamUrl, image, first }, 'native'),
      plain,
      portable: () => fromPeer(bench, { a, upstreamUrl, image, first }, 'portable'),
    })
    const row = (engine: 'native' | 'portable') =>
      toRow({
        what: `node B from node A, ${megabytes(size)}, curl, ${engine} SHA-256`,
        unit: 's',
        layerd: times[engine],
        baseline: { name: 'node:https + SHA-256', figures: times.plain },
        goal: { of: 'ratio', atMost: 1 / 0.6 },
        note: 'B verifies each chunk, stores and serves it; the baseline only hashes',
      })
    return [row('native'), row('portable')]
  },
}

async function imageOf(layout: string, size: number, seed: string): Promise<BenchImage> {
  return { repository: REPOSITORY, reference: '', layer: await writeBlob(layout, size, seed) }
}

interface Pair {
  a: Layerd
  upstreamUrl: string
  image: BenchImage
  first: BenchImage
}

/** Seconds that a new node B takes for the blob, all of it from A. */
async function fromPeer(
  bench: Bench,
  { a, upstreamUrl, image, first }: Pair,
  engine: 'native' | 'portable',
): Promise<number> {
  await using b = await bench.startLayerd(upstreamUrl, [a], undefined, { LAYERD_VERIFY_ENGINE: engine })
  await b.connected(1)
  await curl(layerUrl(b.url, first), first.layer.size)
  const ms = await curl(layerUrl(b.url, image), image.layer.size)
  const { fetchedBytes } = (await b.status()).counters
  const expected = first.layer.size + image.layer.size
  if (fetchedBytes.peer < expected) throw new Error(`B has ${fetchedBytes.peer} of ${expected} bytes from A`)
  return ms / 1000
}
