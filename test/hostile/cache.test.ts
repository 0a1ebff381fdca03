import { expect, it, onTestFinished } from 'vitest'
import { chunkBytes } from '../../daemon/verify/quarter.ts'
import type { Digest } from '../../proxy/oci/digest.ts'
import { pseudoRandomBytes } from '../fixtures/bytes.ts'
import { ask } from '../fixtures/client.ts'
import { FakeUpstream, faults } from '../fixtures/fake-upstream.ts'
import { startTestNode, until } from '../fixtures/node.ts'
import { TestSwarm, transferPeers } from '../fixtures/swarm.ts'
import { betray, HostilePeer, newGang } from './peer.ts'

const small = pseudoRandomBytes(200_000, 'small')

/** A node whose store has room for 24 MiB, and is full of blobs of 1 MiB. */
async function fullNode() {
  const upstream = await FakeUpstream.start()
  onTestFinished(() => upstream.close())
  const swarm = new TestSwarm()
  onTestFinished(() => swarm.close())
  const gang = newGang()
  for (let count = 0; count < 2; count++) (await HostilePeer.join(gang, swarm)).kind = 'size'
  const seeds = gang.peers.map(({ node }) => node.address())
  const config = { swarm: { seeds }, store: { maxSize: '24 MiB' } }
  const node = await startTestNode({ registries: { 'docker.io': upstream.url }, config })
  for (const peer of gang.peers) await until(() => transferPeers(peer.node) > 0, 30_000)
  const held: Digest[] = []
  for (let index = 0; index < 24; index++) {
    const blob = upstream.addBlob(pseudoRandomBytes(chunkBytes, `held ${index}`))
    expect((await ask(node.url, `/v2/app/blobs/${blob}`)).complete).toBe(true)
    held.push(blob)
  }
  await until(async () => (await node.status()).store.blobs === held.length)
  const blob = upstream.addBlob(small)
  const left = async () => (await node.status()).store.blobs
  return { upstream, node, gang, blob, path: `/v2/app/blobs/${blob}`, left }
}

it('peers that say a blob is as long as the store empty nothing of it', async () => {
  const { node, gang, blob, path, left } = await fullNode()
  await betray(gang, blob, small)
  // The first says 50 GiB, the other says what would fit.
  for (const peer of gang.peers) await peer.announce([blob])
  const got = await ask(node.url, path)
  expect([got.status, got.complete, small.equals(got.body)]).toEqual([200, true, true])
  await until(async () => (await left()) === 24)
})

it('a registry that says so takes no more than what it sends', async () => {
  const { upstream, node, path, left } = await fullNode()
  upstream.inject(/GET .*\/blobs\//, faults.wrongLength(12 * chunkBytes))
  const got = await ask(node.url, path)
  expect(got.status === 200 && got.complete).toBe(false)
  expect(await left()).toBeGreaterThanOrEqual(24 - 4)
})
