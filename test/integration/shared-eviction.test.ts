import { expect, it, onTestFinished } from 'vitest'
import { type Digest, digestOf } from '../../proxy/oci/digest.ts'
import { pseudoRandomBytes } from '../fixtures/bytes.ts'
import { ask } from '../fixtures/client.ts'
import { FakeUpstream } from '../fixtures/fake-upstream.ts'
import { startTestNode, type TestNode, until, untilConnected } from '../fixtures/node.ts'

const mebibyte = 1024 * 1024

async function pull(node: TestNode, blob: Digest): Promise<void> {
  const got = await ask(node.url, `/v2/app/blobs/${blob}`)
  expect([got.status, got.complete, digestOf(got.body)]).toEqual([200, true, blob])
}

it('a blob that was given to a peer is evicted while the two are linked, and the peer stays able to give it', async () => {
  const upstream = await FakeUpstream.start()
  onTestFinished(() => upstream.close())
  const registries = { 'docker.io': upstream.url }
  const small = await startTestNode({ registries, isClosed: true, config: { store: { maxSize: '6 MiB' } } })
  const large = await startTestNode({ registries, seeds: [small], isClosed: true })
  await untilConnected(small, large)
  const [first, second] = ['first', 'second'].map((name) => upstream.addBlob(pseudoRandomBytes(4 * mebibyte, name)))
  if (first === undefined || second === undefined) throw new Error('there are two')
  await pull(small, first)
  await pull(large, first)
  expect(await large.metric('layerd_fetched_bytes_total{source="peer"}')).toBe(4 * mebibyte)
  // A file is open for a moment after it was read.
  await until(async () => {
    await pull(small, second)
    return await isHeldBy(small, second)
  })
  await pull(small, first)
  expect(upstream.seen(/GET .*\/blobs\//).filter(({ path }) => path.includes(first))).toHaveLength(1)
})

/** Whether a blob is given without any fetch. */
async function isHeldBy(node: TestNode, blob: Digest): Promise<boolean> {
  const fetched = async () =>
    (await node.metric('layerd_fetched_bytes_total{source="peer"}')) +
    (await node.metric('layerd_fetched_bytes_total{source="upstream"}'))
  const before = await fetched()
  await pull(node, blob)
  return (await fetched()) === before
}
