import { expect, it, onTestFinished } from 'vitest'
import { quarterBytes } from '../../daemon/verify/quarter.ts'
import { digestOf } from '../../proxy/oci/digest.ts'
import { pseudoRandomBytes } from '../fixtures/bytes.ts'
import { ask } from '../fixtures/client.ts'
import { FakeUpstream, faults } from '../fixtures/fake-upstream.ts'
import { makesUpBeginning, peersWith, waitsBefore } from '../fixtures/faulty-peers.ts'
import { startTestNode, until } from '../fixtures/node.ts'

const layer = pseudoRandomBytes(8 * quarterBytes + 1, 'provisional')
const path = `/v2/app/blobs/${digestOf(layer)}`
const provisional = 'layerd_provisional_bytes'
const verified = 'layerd_verified_bytes_total'

async function start() {
  const upstream = await FakeUpstream.start()
  onTestFinished(() => upstream.close())
  upstream.addBlob(layer)
  const config = { swarm: { lookupTimeout: '2s' }, registry: { shutdownTimeout: '10ms' } }
  return { upstream, node: await startTestNode({ registries: { 'docker.io': upstream.url }, config }) }
}

it('what arrives is provisional until the digest has proven the whole, and verified from then on', async () => {
  const { upstream, node } = await start()
  upstream.inject('GET', faults.slow(16 * quarterBytes))
  expect([await node.metric(provisional), await node.metric(verified)]).toEqual([0, 0])
  const pull = ask(node.url, path)
  for (const quarters of [1, 3]) {
    await until(async () => (await node.metric(provisional)) >= quarters * quarterBytes)
    expect(await node.metric(verified)).toBe(0)
  }
  expect((await pull).complete).toBe(true)
  expect([await node.metric(provisional), await node.metric(verified)]).toEqual([0, layer.length])
  // What the store has is neither fetched nor verified again.
  await ask(node.url, path)
  expect(await node.metric(verified)).toBe(layer.length)
})

it('what fits checkpoints that turn out to be false was provisional, is dropped, and never verified', async () => {
  const { upstream, node } = await start()
  upstream.inject('GET', faults.hang())
  const gate = Promise.withResolvers<void>()
  // Its list is false before quarter 6: no quarter fits there.
  const [liar] = await peersWith([node], layer, [
    async (content, blob) => {
      await makesUpBeginning(content, blob)
      await waitsBefore(6, gate.promise)(content, blob)
    },
  ])
  const pull = ask(node.url, path)
  await until(async () => (await node.metric(provisional)) >= 6 * quarterBytes)
  expect(await node.metric(verified)).toBe(0)
  // A client that has got nothing yet would wait for the right bytes.
  await until(async () => (await node.metric('layerd_served_bytes_total{to="client"}')) > 0)
  gate.resolve()
  await until(async () => (await node.metric(provisional)) === 0)
  expect(await node.metric('layerd_wasted_bytes_total{reason="dropped"}')).toBeGreaterThanOrEqual(6 * quarterBytes)
  expect(await node.metric(verified)).toBe(0)
  expect((await pull).complete).toBe(false)
  // It contradicted itself: that is told while the attempt still waits for upstream, which hangs.
  await until(async () => (await node.status()).banned.length > 0)
  expect((await node.status()).banned).toMatchObject([{ peerId: liar?.peerId() }])
})
