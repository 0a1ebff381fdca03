import { expect, it, onTestFinished } from 'vitest'
import { digestOf } from '../../proxy/oci/digest.ts'
import { pseudoRandomBytes } from '../fixtures/bytes.ts'
import { ask } from '../fixtures/client.ts'
import { FakeUpstream } from '../fixtures/fake-upstream.ts'
import { startTestNode, type TestNode, untilConnected } from '../fixtures/node.ts'

const mebibyte = 1024 * 1024
const fetchedFrom = (source: string) => `layerd_fetched_bytes_total{source="${source}"}`

/** Two nodes at each of these sites; all are connected. */
async function start(sites: readonly (string | undefined)[]) {
  const upstream = await FakeUpstream.start()
  onTestFinished(() => upstream.close())
  const nodes: TestNode[] = []
  for (const site of [...sites, ...sites]) {
    const swarm = site === undefined ? {} : { site }
    const seeds = nodes.slice(0, 1)
    nodes.push(
      await startTestNode({ registries: { 'docker.io': upstream.url }, seeds, isClosed: true, config: { swarm } }),
    )
  }
  await untilConnected(...nodes)
  const layers = [24, 12].map((size) => pseudoRandomBytes(size * mebibyte, `layer of ${size}`))
  const blobs = layers.map((layer) => upstream.addBlob(layer))
  const pull = async (node: TestNode) => {
    for (const got of await Promise.all(blobs.map((blob) => ask(node.url, `/v2/app/blobs/${blob}`))))
      expect([got.status, blobs.includes(digestOf(got.body))]).toEqual([200, true])
  }
  const sum = async (source: string, some = nodes) => {
    const all = await Promise.all(some.map((node) => node.metric(fetchedFrom(source))))
    return all.reduce((bytes, more) => bytes + more, 0) / (36 * mebibyte)
  }
  return { nodes, pull, sum }
}

it('of each chunk one copy crosses the line between two sites', async () => {
  const { nodes, pull, sum } = await start(['one', 'two'])
  await Promise.all(nodes.map(pull))
  // Part of an answer that was given up may be counted, on a busy machine.
  expect(await sum('far')).toBeGreaterThan(0.95)
  expect(await sum('far')).toBeLessThan(1.1)
  expect(await sum('upstream')).toBeLessThan(1.1)
  // Where one copy goes to each site, by whichever way, all others are from the same site.
  expect(await sum('peer')).toBeGreaterThan(1.9)
})

it('a site that has everything asks no other one, and another one asks for one copy', async () => {
  const { nodes, pull, sum } = await start(['one', 'two'])
  const [first, atOther, second, lastAtOther] = nodes as [TestNode, TestNode, TestNode, TestNode]
  await pull(first)
  await pull(second)
  expect(await sum('far')).toBe(0)
  await Promise.all([pull(atOther), pull(lastAtOther)])
  expect(await sum('far')).toBeGreaterThan(0.95)
  expect(await sum('far')).toBeLessThan(1.1)
  expect(await sum('upstream')).toBeLessThan(1.05)
})

it('nodes that know no site count as near all others', async () => {
  const { nodes, pull, sum } = await start(['one', undefined])
  await Promise.all(nodes.map(pull))
  expect([await sum('far'), await sum('peer')]).toEqual([0, expect.closeTo(3, 0)])
})
