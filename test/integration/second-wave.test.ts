import { expect, it, onTestFinished } from 'vitest'
import { type Digest, digestOf } from '../../proxy/oci/digest.ts'
import { pseudoRandomBytes } from '../fixtures/bytes.ts'
import { ask } from '../fixtures/client.ts'
import { FakeUpstream } from '../fixtures/fake-upstream.ts'
import { startTestNode, type TestNode, until, untilConnected } from '../fixtures/node.ts'
import { delayMessages } from '../fixtures/slow-messages.ts'

const mebibyte = 1024 * 1024
const upstreamBytes = 'layerd_fetched_bytes_total{source="upstream"}'
const isBlob = /GET .*\/blobs\//

/** An upstream, and a node that is to have everything first. */
async function start() {
  const upstream = await FakeUpstream.start()
  onTestFinished(() => upstream.close())
  const options = { registries: { 'docker.io': upstream.url }, isClosed: true }
  return { upstream, options, seed: await startTestNode(options) }
}

async function pull(node: TestNode, blob: Digest): Promise<void> {
  const got = await ask(node.url, `/v2/app/blobs/${blob}`)
  expect([got.status, got.complete, digestOf(got.body)]).toEqual([200, true, blob])
}

/** Adds the layers of an image: 12 small ones and one of 30 MiB; and lets a node have all of them, and announce them. */
async function addImage(upstream: FakeUpstream, seed: TestNode, name: string): Promise<Digest[]> {
  const before = (await seed.status()).store.blobs
  const small = Array.from({ length: 12 }, (_, index) => pseudoRandomBytes(20_000 * (index + 1), `${name} ${index}`))
  const blobs = [...small, pseudoRandomBytes(30 * mebibyte + 1, name)].map((layer) => upstream.addBlob(layer))
  await Promise.all(blobs.map((blob) => pull(seed, blob)))
  await until(async () => {
    const { store, provided, provideQueue } = await seed.status()
    return store.blobs === before + blobs.length && provided === store.blobs && provideQueue === 0
  })
  return blobs
}

it.each([
  [5, 'five times in a row', 0],
  [2, 'also where messages between nodes are slow', 100],
])(
  'nothing comes from upstream that a node has when all others ask for it at once (%i rounds: %s)',
  async (rounds, _, ms) => {
    const { upstream, options, seed } = await start()
    const others: TestNode[] = []
    while (others.length < 5) others.push(await startTestNode({ ...options, seeds: [seed] }))
    await untilConnected(seed, ...others)
    if (ms > 0) delayMessages(ms)
    for (let round = 0; round < rounds; round++) {
      const blobs = await addImage(upstream, seed, `round ${round}`)
      const { length } = upstream.seen(isBlob)
      await Promise.all(others.flatMap((node) => blobs.map((blob) => pull(node, blob))))
      expect(
        upstream
          .seen(isBlob)
          .slice(length)
          .map(({ path, headers }) => [path, headers.range]),
      ).toEqual([])
    }
    for (const node of others) expect(await node.metric(upstreamBytes)).toBe(0)
  },
)

it('nothing comes from upstream where the nodes that ask know nobody yet but one that has it', async () => {
  const { upstream, options, seed } = await start()
  const blobs = await addImage(upstream, seed, 'new nodes')
  const { length } = upstream.seen(isBlob)
  const pulls: Promise<void>[] = []
  for (let index = 0; index < 5; index++) {
    const node = await startTestNode({ ...options, seeds: [seed] })
    await until(async () => (await node.status()).peers.some(({ transfer }) => transfer))
    pulls.push(...blobs.map((blob) => pull(node, blob)))
  }
  await Promise.all(pulls)
  expect(
    upstream
      .seen(isBlob)
      .slice(length)
      .map(({ path, headers }) => [path, headers.range]),
  ).toEqual([])
})
