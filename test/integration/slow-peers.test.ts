import { expect, it, onTestFinished } from 'vitest'
import { chunkBytes } from '../../daemon/verify/quarter.ts'
import { digestOf } from '../../proxy/oci/digest.ts'
import { pseudoRandomBytes } from '../fixtures/bytes.ts'
import { ask } from '../fixtures/client.ts'
import { FakeUpstream, faults } from '../fixtures/fake-upstream.ts'
import { type Fault, peersWith, sendsSlowly } from '../fixtures/faulty-peers.ts'
import { startTestNode } from '../fixtures/node.ts'

const layer = pseudoRandomBytes(16 * chunkBytes, 'slow peers')
const blob = digestOf(layer)
const upstreamBytes = 'layerd_fetched_bytes_total{source="upstream"}'
const peerBytes = 'layerd_fetched_bytes_total{source="peer"}'

/** A node pulls a blob that one peer has, and an upstream that would take a second for it. */
async function pull(fault: Fault) {
  const upstream = await FakeUpstream.start()
  onTestFinished(() => upstream.close())
  upstream.addBlob(layer)
  upstream.inject('GET', faults.slow(16 * chunkBytes))
  const config = { swarm: { lookupTimeout: '2s' } }
  const node = await startTestNode({ registries: { 'docker.io': upstream.url }, config })
  await peersWith([node], layer, [fault])
  const started = performance.now()
  const got = await ask(node.url, `/v2/app/blobs/${blob}`)
  expect([got.status, got.complete, digestOf(got.body)]).toEqual([200, true, blob])
  return { ms: performance.now() - started, byUpstream: await node.metric(upstreamBytes), node }
}

it('upstream helps a peer that is far slower, and what the peer brings is not fetched from there', async () => {
  const { ms, byUpstream, node } = await pull(sendsSlowly(0.75 * chunkBytes))
  // The peer alone would take 21 seconds. Five of them pass, two chunks of its, until it is clear that it is slow.
  expect(ms).toBeLessThan(19_000)
  expect(byUpstream).toBeGreaterThan(8 * chunkBytes)
  expect(byUpstream).toBeLessThan(layer.length)
  expect(await node.metric(peerBytes)).toBeGreaterThan(chunkBytes)
})

it('upstream is left alone where the peer is fast enough, though it would be faster', async () => {
  const { ms, byUpstream } = await pull(sendsSlowly(4 * chunkBytes))
  // Longer than it takes to find out that a peer is slow.
  expect(ms).toBeGreaterThan(3500)
  expect(byUpstream).toBe(0)
})
