import { describe, expect, it, onTestFinished } from 'vitest'
import { quarterBytes } from '../../daemon/verify/quarter.ts'
import { type Digest, digestOf } from '../../proxy/oci/digest.ts'
import { pseudoRandomBytes } from '../fixtures/bytes.ts'
import { ask } from '../fixtures/client.ts'
import { FakeUpstream, faults } from '../fixtures/fake-upstream.ts'
import { startTestNode, type TestNode, until, untilConnected } from '../fixtures/node.ts'
import { announce, forge, showFirst, startNodeWithPeers } from '../fixtures/peers.ts'
import { TestSwarm } from '../fixtures/swarm.ts'

const layer = pseudoRandomBytes(12 * quarterBytes + 1, 'fleet')
const forged = pseudoRandomBytes(layer.length, 'forged')
const wrongBytes = 'layerd_wasted_bytes_total{reason="wrong"}'
const peerBytes = 'layerd_fetched_bytes_total{source="peer"}'
const upstreamBytes = 'layerd_fetched_bytes_total{source="upstream"}'

/** @returns undefined where the client got no whole body; @throws never a wrong one */
async function pull(node: TestNode, blob: Digest): Promise<boolean> {
  const got = await ask(node.url, `/v2/app/blobs/${blob}`).catch(() => undefined)
  const isWhole = got?.status === 200 && got.complete
  if (isWhole) expect(digestOf(got.body)).toBe(blob)
  return isWhole
}

async function bannedBy(node: TestNode): Promise<string[]> {
  return (await node.status()).banned.map(({ peerId }) => peerId)
}

describe('a peer whose checkpoints are those of its own bytes', () => {
  it('that does not give the last quarter is banned, and upstream’s last quarter is not taken for wrong', async () => {
    const { node, peers, upstream } = await startNodeWithPeers(1)
    const blob = upstream.addBlob(layer)
    const [liar] = peers
    if (liar === undefined) throw new Error('no peers')
    await forge(liar, blob, forged, 1)
    await announce(blob, peers)
    await pull(node, blob)
    await until(async () => (await node.status()).store.blobs === 1)
    expect(await bannedBy(node)).toEqual([liar.peerId()])
    expect(await pull(node, blob)).toBe(true)
    // What upstream sent while the list was false is not fetched again: it is asked once for the last byte.
    const ends = upstream.seen(`GET /v2/library/app/blobs/${blob}`).map(({ headers }) => {
      const [, end = ''] = /-(\d*)$/.exec(headers.range ?? '') ?? []
      return end === '' ? layer.length - 1 : Number(end)
    })
    expect(ends.filter((end) => end === layer.length - 1)).toHaveLength(1)
    // A stream that is given up at the end of a chunk has begun with the next quarters; there are three such ends.
    expect(await node.metric(upstreamBytes)).toBeLessThanOrEqual(layer.length + 3 * 2 * quarterBytes)
    expect(node.log.filter(({ msg }) => msg === 'received wrong content')).toEqual([])
  })

  it.each([0, 1])('costs no honest peer anything that has a part only (%i quarters withheld)', async (withheld) => {
    const { node, peers, upstream } = await startNodeWithPeers(4)
    const blob = upstream.addBlob(layer)
    upstream.inject('GET', faults.slow(8 * quarterBytes))
    const [liar, ...honest] = peers
    if (liar === undefined) throw new Error('no peers')
    for (const peer of honest) await showFirst(peer, blob, layer, 8)
    await forge(liar, blob, forged, withheld)
    await announce(blob, peers)
    await pull(node, blob)
    await until(async () => (await node.status()).store.blobs === 1)
    expect(await bannedBy(node)).toEqual([liar.peerId()])
    expect(await node.metric(wrongBytes)).toBeLessThanOrEqual(2 * quarterBytes)
    expect(await pull(node, blob)).toBe(true)
  })

  it.each([0, 2, 11])(
    'makes nobody ban who passed its list on in good faith (others join at quarter %i)',
    async (joinAt) => {
      const upstream = await FakeUpstream.start()
      onTestFinished(() => upstream.close())
      const registries = { 'docker.io': upstream.url }
      const first = await startTestNode({ registries })
      const others = [
        await startTestNode({ registries, seeds: [first] }),
        await startTestNode({ registries, seeds: [first] }),
      ]
      await untilConnected(first, ...others)
      const swarm = new TestSwarm()
      onTestFinished(() => swarm.close())
      const { multiaddrs: seeds, peerId } = await first.status()
      // Nobody but the first one hears the liar.
      const liar = await swarm.node({ config: { seeds, allowedPeers: [peerId] } })
      await until(async () => (await first.status()).peers.some((one) => one.peerId === liar.peerId() && one.transfer))
      const blob = upstream.addBlob(layer)
      await forge(liar, blob, forged, 1)
      await announce(blob, [liar])
      const pulls = [pull(first, blob)]
      const fetched = async () => (await first.metric(peerBytes)) + (await first.metric(upstreamBytes))
      await until(async () => (await fetched()) >= joinAt * quarterBytes)
      pulls.push(...others.map((node) => pull(node, blob)))
      await Promise.all(pulls)
      for (const node of [first, ...others]) {
        await until(async () => (await node.status()).store.blobs === 1)
        expect(await pull(node, blob)).toBe(true)
        expect(await bannedBy(node)).toEqual(node === first ? [liar.peerId()] : [])
      }
    },
  )
})

describe('a wrong size, while upstream can’t be asked', () => {
  it.each([true, false])(
    'that a liar tells first does not shut out who tells the right one (the liar stays: %s)',
    async (stays) => {
      const { node, peers, upstream } = await startNodeWithPeers(2)
      await upstream.close()
      const [liar, honest] = peers
      if (liar === undefined || honest === undefined) throw new Error('no peers')
      const blob = honest.content.add(layer)
      await forge(liar, blob, pseudoRandomBytes(20 * quarterBytes, 'longer'), 1)
      const { list } = honest.content
      const { promise: gate, resolve: openGate } = Promise.withResolvers<void>()
      onTestFinished(() => openGate())
      honest.content.list = async (digest) => {
        await gate
        return await list.call(honest.content, digest)
      }
      await announce(blob, peers)
      const pulling = pull(node, blob)
      await until(async () => (await node.metric(peerBytes)) >= quarterBytes)
      openGate()
      await pulling
      const id = liar.peerId()
      if (!stays) await liar.stop()
      expect(await pull(node, blob)).toBe(true)
      expect(await bannedBy(node)).toEqual([id])
    },
  )

  it('is forgotten with the fetch that believed it', async () => {
    const { node, peers, upstream } = await startNodeWithPeers(2)
    await upstream.close()
    const [liar, honest] = peers
    if (liar === undefined || honest === undefined) throw new Error('no peers')
    const blob = digestOf(layer)
    await forge(liar, blob, pseudoRandomBytes(20 * quarterBytes, 'longer'), 1)
    await announce(blob, [liar])
    expect(await pull(node, blob)).toBe(false)
    honest.content.add(layer)
    await announce(blob, [honest])
    await liar.stop()
    expect(await pull(node, blob)).toBe(true)
  })

  it.each([
    ['before', [false, true]],
    ['after', [true, false]],
  ])('that a foreign manifest tells %s the right one does not shut out who has the blob', async (_, order) => {
    const { node, peers, upstream } = await startNodeWithPeers(1)
    const [honest] = peers
    if (honest === undefined) throw new Error('no peers')
    const blob = honest.content.add(layer)
    for (const isRight of order) {
      const described = { mediaType: 'application/octet-stream', digest: blob, size: isRight ? layer.length : 7 }
      const manifest = upstream.addManifest({ schemaVersion: 2, layers: [described] })
      expect((await ask(node.url, `/v2/${isRight ? 'app' : 'foreign'}/manifests/${manifest}`)).status).toBe(200)
    }
    await upstream.close()
    await announce(blob, peers)
    expect(await pull(node, blob)).toBe(true)
  })
})
