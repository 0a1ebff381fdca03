import { join } from 'node:path'
import type { Tools } from '../../e2e/debian.ts'
import { type FleetCase, isSlow, type Rates } from './case.ts'
import type { FleetImage } from './image.ts'
import type { Host, Lan } from './lan.ts'
import { FleetRegistry } from './registry.ts'

/** Long against a connection's first round trips and the buckets' bursts. */
const MEASURE_S = 4
const DEADLINE_S = 60

interface Place {
  tools: Tools
  lan: Lan
  fleetCase: FleetCase
  /** Whose blobs every registry has. */
  image: FleetImage
  data: string
  folder: string
  upstream: FleetRegistry
}

/**
 * Measures what one plain curl moves through each kind of link, one end of it without a limit. Each direction is measured at
 * a host of its own, so that acknowledgements don't wait behind another measurement's content.
 */
export async function measureRates({ tools, lan, fleetCase, image, data, folder, upstream }: Place): Promise<Rates> {
  const registryAt = (host: Host) =>
    FleetRegistry.start({ tools, lan, host, folder: join(folder, `rates-${host.name}`), data })
  const [first, second] = lan.nodes as [Host, Host]
  const slow = lan.nodes.find((_, index) => isSlow(fleetCase, index))
  await using sender = await registryAt(second)
  await using probe = await registryAt(lan.probe)
  const measure = (from: FleetRegistry, to: Host, rate: number) => curlRate(lan, image, from.url, to, rate)
  const [up, down, fromUpstream, slowDown] = await Promise.all([
    measure(sender, lan.probe, fleetCase.rate),
    measure(probe, first, fleetCase.rate),
    measure(upstream, lan.probe, fleetCase.upstreamRate),
    slow && measure(probe, slow, fleetCase.slow?.rate ?? 0),
  ])
  const last = lan.nodes.at(-1)
  const { between: rate } = fleetCase
  const between = rate === undefined || last === undefined ? undefined : await measure(sender, last, rate)
  return { up, down, upstream: fromUpstream, slowDown, between }
}

/** @param rate Mbit/s that are expected @returns bytes a second */
async function curlRate(lan: Lan, image: FleetImage, url: string, to: Host, rate: number): Promise<number> {
  const blob = image.blobs.reduce((largest, candidate) => (candidate.size > largest.size ? candidate : largest))
  const wanted = Math.min(blob.size, Math.round((rate * 1e6 * MEASURE_S) / 8))
  const answer = await lan.run(to, [
    ...['curl', '-q', '-sS', '--noproxy', '*', '--max-time', String(DEADLINE_S), '-o', '/dev/null'],
    ...['-r', `0-${wanted - 1}`, '-w', '%{size_download} %{time_total}'],
    `${url}/v2/${image.repository}/blobs/${blob.digest}`,
  ])
  const [bytes = 0, seconds = 0] = answer.split(' ').map(Number)
  if (bytes !== wanted) throw new Error(`measuring ${url}: ${bytes} of ${wanted} bytes`)
  return bytes / seconds
}
