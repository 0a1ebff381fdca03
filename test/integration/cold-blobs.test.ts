import { describe, expect, it, onTestFinished } from 'vitest'
import type { NodeStatus } from '../../daemon/admin/app.ts'
import { nearestPeers } from '../../daemon/swarm/find/nearest.ts'
import { hashOf, multihashOf } from '../../daemon/swarm/router/cid.ts'
import { chunkBytes } from '../../daemon/verify/quarter.ts'
import { type Digest, digestOf } from '../../proxy/oci/digest.ts'
import { pseudoRandomBytes } from '../fixtures/bytes.ts'
import { ask } from '../fixtures/client.ts'
import { FakeUpstream, faults } from '../fixtures/fake-upstream.ts'
import { startTestNode, swarmKeyFile, type TestNode, until, untilConnected } from '../fixtures/node.ts'
import { type NodeProcess, spawnNode } from '../fixtures/process.ts'
import { ShareRecorder } from '../fixtures/share-listener.ts'
import { delayFirstTurns } from '../fixtures/slow-messages.ts'
import { TestSwarm } from '../fixtures/swarm.ts'
import { tempDir } from '../fixtures/temp-dir.ts'

const upstreamBytes = 'layerd_fetched_bytes_total{source="upstream"}'
const peerBytes = 'layerd_fetched_bytes_total{source="peer"}'

async function startUpstream(bytesPerSecond: number): Promise<FakeUpstream> {
  const upstream = await FakeUpstream.start()
  onTestFinished(() => upstream.close())
  upstream.inject('GET', faults.slow(bytesPerSecond))
  return upstream
}

async function startNodes(upstream: FakeUpstream, count: number): Promise<TestNode[]> {
  const registries = { 'docker.io': upstream.url }
  const nodes: TestNode[] = []
  while (nodes.length < count) nodes.push(await startTestNode({ registries, seeds: nodes.slice(0, 1), isClosed: true }))
  await untilConnected(...nodes)
  return nodes
}

async function pull(node: { readonly url: string }, blob: Digest): Promise<void> {
  const got = await ask(node.url, `/v2/app/blobs/${blob}`)
  expect([got.status, got.complete, digestOf(got.body)]).toEqual([200, true, blob])
}

async function sum(nodes: readonly TestNode[], metric: string): Promise<number> {
  const values = await Promise.all(nodes.map((node) => node.metric(metric)))
  return values.reduce((total, value) => total + value, 0)
}

describe('a cold blob that eight nodes ask for in one moment', () => {
  it.each(['whose size nobody knows', 'of a manifest that they have'])('%s comes from upstream once', async (which) => {
    const upstream = await startUpstream(12 * chunkBytes)
    const nodes = await startNodes(upstream, 8)
    const layer = pseudoRandomBytes(24 * chunkBytes + 1, which)
    const blob = upstream.addBlob(layer)
    let before = 0
    if (which !== 'whose size nobody knows') {
      const layers = [{ mediaType: 'application/vnd.oci.image.layer.v1.tar', digest: blob, size: layer.length }]
      const manifest = upstream.addManifest({ schemaVersion: 2, layers })
      await Promise.all(nodes.map((node) => ask(node.url, `/v2/app/manifests/${manifest}`)))
      before = await sum(nodes, upstreamBytes)
    }
    await Promise.all(nodes.map((node) => pull(node, blob)))
    // On a busy machine nodes may race for some chunks. If each read for itself, this would be eight times the blob.
    expect((await sum(nodes, upstreamBytes)) - before).toBeLessThan(2 * layer.length)
  })

  it('comes from upstream once, if it is one of ten small ones', async () => {
    const upstream = await startUpstream(12 * chunkBytes)
    const nodes = await startNodes(upstream, 8)
    const layers = Array.from({ length: 10 }, (_, index) => pseudoRandomBytes(300 * 1024, `small ${index}`))
    const blobs = layers.map((layer) => upstream.addBlob(layer))
    await Promise.all(nodes.flatMap((node) => blobs.map((blob) => pull(node, blob))))
    // Eight times that, if each read for itself; some may, on a busy machine.
    expect(await sum(nodes, upstreamBytes)).toBeLessThan(2 * 10 * 300 * 1024)
  })
})

it('a coordinator that is a second late with its first answer is waited for: it is not taken for silent', async () => {
  const upstream = await startUpstream(12 * chunkBytes)
  const nodes = await startNodes(upstream, 3)
  const layer = pseudoRandomBytes(24 * chunkBytes + 1, 'late')
  const blob = upstream.addBlob(layer)
  delayFirstTurns(1_000)
  // One of them coordinates it, and begins to read at once.
  await Promise.all(nodes.map((node) => pull(node, blob)))
  // Besides, who has heard nothing for a second may ask for the size, or race for a chunk; a second reader would bring a third more.
  expect(await sum(nodes, upstreamBytes)).toBeLessThan(1.1 * layer.length)
})

describe('the node that reads upstream', () => {
  const layer = pseudoRandomBytes(24 * chunkBytes + 1, 'reader')

  const statusOf = async ({ admin }: NodeProcess) =>
    (await (await fetch(`${admin}/api/v1/status`)).json()) as NodeStatus
  const fetched = async (node: NodeProcess) => (await statusOf(node)).counters.fetchedBytes.upstream

  /** Nodes in processes of their own that ask for a blob, and the first of them that has read a third of it. */
  async function start() {
    const upstream = await startUpstream(6 * chunkBytes)
    const blob = upstream.addBlob(layer)
    const args = ['--registry', `docker.io=${upstream.url}`]
    const first = await spawnNode(await tempDir(), args)
    const { multiaddrs: seeds } = await statusOf(first)
    const others = await Promise.all(
      [1, 2].map(async () => await spawnNode(await tempDir(), [...args, ...seeds.flatMap((seed) => ['--seed', seed])])),
    )
    const nodes = [first, ...others]
    const known = async (node: NodeProcess) => (await statusOf(node)).peers.filter(({ transfer }) => transfer).length
    for (const node of nodes) await until(async () => (await known(node)) === nodes.length - 1)
    const pulls = new Map(nodes.map((node) => [node, pull(node, blob)] as const))
    for (const one of pulls.values()) one.catch(() => {})
    let reader: NodeProcess | undefined
    let before = 0
    await until(async () => {
      for (const node of nodes) {
        before = await fetched(node)
        if (before < layer.length / 3) continue
        reader = node
        return true
      }
      return false
    })
    if (reader === undefined) throw new Error('nobody reads')
    const left = nodes.filter((node) => node !== reader)
    const rest = async () => {
      await Promise.all(left.map((node) => pulls.get(node)))
      return before + (await Promise.all(left.map(fetched))).reduce((total, bytes) => total + bytes, 0)
    }
    return { upstream, reader, rest }
  }

  it('may be killed: the others go on, and upstream gives little twice', async () => {
    const { reader, rest } = await start()
    await reader.kill()
    expect(await rest()).toBeLessThan(1.3 * layer.length)
  })

  it('may fall silent: the others go on after a moment, and upstream gives little twice', async () => {
    const { reader, rest } = await start()
    reader.child.kill('SIGSTOP')
    const since = performance.now()
    // If each of both read the rest for itself, upstream would give 1.7 times the blob.
    expect(await rest()).toBeLessThan(1.6 * layer.length)
    // Two thirds of it take 2.7 s, and a pause of some two seconds; a fetch that gets nothing ends after 20 s.
    expect(performance.now() - since).toBeLessThan(19_000)
  })
})

it('a peer that announced a blob, and takes all messages and answers none, holds nobody up for long', async () => {
  const upstream = await startUpstream(24 * chunkBytes)
  const [node, other] = await startNodes(upstream, 2)
  if (node === undefined || other === undefined) throw new Error('no nodes')
  const swarm = new TestSwarm()
  onTestFinished(() => swarm.close())
  const listener = new ShareRecorder()
  const seeds = [...(await node.status()).multiaddrs, ...(await other.status()).multiaddrs]
  const silent = await swarm.node({ config: { seeds, swarmKey: await swarmKeyFile() }, listener })
  for (const one of [node, other])
    await until(async () => (await one.status()).peers.filter(({ transfer }) => transfer).length === 2)
  // One of these has it as a coordinator.
  for (let index = 0; index < 4; index++) {
    const blob = upstream.addBlob(pseudoRandomBytes(chunkBytes, `silent ${index}`))
    silent.content.blobs.set(blob, Buffer.alloc(1))
    silent.swarm.advertise(blob, true)
    await until(() => silent.status().provided === index + 1)
    const since = performance.now()
    await Promise.all([node, other].map((one) => pull(one, blob)))
    expect(performance.now() - since).toBeLessThan(15_000)
  }
  expect(listener.messages.length + listener.claims.length).toBeGreaterThan(0)
})

it('a list is passed on: who can not reach the node that reads has chunks from others while it still reads', async () => {
  const upstream = await startUpstream(4 * chunkBytes)
  const registries = { 'docker.io': upstream.url }
  const middle = await startTestNode({ registries })
  const reader = await startTestNode({ registries, seeds: [middle] })
  const { peerId } = await middle.status()
  // It speaks with the one in the middle only.
  const far = await startTestNode({ registries, seeds: [middle], config: { swarm: { allowedPeers: [peerId] } } })
  await until(async () => (await middle.status()).peers.filter(({ transfer }) => transfer).length === 2)
  const ids = await Promise.all([middle, reader, far].map(async (node) => (await node.status()).peerId))
  // All ask the one in the middle who reads.
  let layer: Buffer
  for (let index = 0; ; index++) {
    layer = pseudoRandomBytes(12 * chunkBytes + 1, `relayed ${index}`)
    if (nearestPeers(ids, multihashOf(hashOf(digestOf(layer))), 1)[0] === peerId) break
  }
  const blob = upstream.addBlob(layer)
  const pulls = [pull(reader, blob)]
  await until(async () => (await reader.metric(upstreamBytes)) > chunkBytes)
  pulls.push(pull(middle, blob), pull(far, blob))
  await until(async () => (await far.metric(peerBytes)) > chunkBytes)
  expect(await reader.metric(upstreamBytes)).toBeLessThan(layer.length)
  await Promise.all(pulls)
  expect(await sum([middle, reader, far], upstreamBytes)).toBeLessThan(1.3 * layer.length)
  expect((await far.status()).peers).toHaveLength(1)
})
