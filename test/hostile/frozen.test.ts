import { describe, expect, it } from 'vitest'
import { chunkBytes } from '../../daemon/verify/quarter.ts'
import { atEnd } from '../fixtures/at-end.ts'
import { pseudoRandomBytes } from '../fixtures/bytes.ts'
import { ask } from '../fixtures/client.ts'
import { FakeUpstream, faults } from '../fixtures/fake-upstream.ts'
import { startTestNode, until } from '../fixtures/node.ts'
import { TestSwarm, transferPeers } from '../fixtures/swarm.ts'
import { betray, HostilePeer, newGang } from './peer.ts'

const layer = pseudoRandomBytes(3 * chunkBytes, 'frozen')

/** A node whose peers say that they have a layer and never send it, and a registry that does as the test says. */
async function setUp() {
  const upstream = await FakeUpstream.start()
  atEnd(() => upstream.close())
  const swarm = new TestSwarm()
  atEnd(() => swarm.close())
  const gang = newGang()
  for (let count = 0; count < 2; count++) (await HostilePeer.join(gang, swarm)).kind = 'frozen'
  const seeds = gang.peers.map(({ node }) => node.address())
  const timeouts = { connectTimeout: '1s', responseTimeout: '1s', idleTimeout: '1s' }
  const config = { swarm: { seeds }, upstream: timeouts, tags: { patience: '1s' } }
  const node = await startTestNode({ registries: { 'docker.io': upstream.url }, config })
  for (const peer of gang.peers) await until(() => transferPeers(peer.node) > 0)
  const blob = upstream.addBlob(layer)
  const manifest = upstream.addManifest({ schemaVersion: 2, layers: [{ digest: blob, size: layer.length }] })
  await betray(gang, blob, layer)
  for (const peer of gang.peers) await peer.announce([blob])
  return { upstream, node, blob, manifest, path: `/v2/docker.io/app/blobs/${blob}` }
}

describe.concurrent('where peers say that they have a blob and send nothing of it', () => {
  it.each([
    ['answers nothing, though a manifest has told the size', faults.hang(), true],
    ['says how long it is, and sends no byte', faults.hangAfter(0), false],
  ])('and upstream %s, a client gets an error, and goes on to its next mirror', async (_, fault, isDescribed) => {
    const { upstream, node, manifest, path } = await setUp()
    if (isDescribed) expect((await ask(node.url, `/v2/docker.io/app/manifests/${manifest}`)).status).toBe(200)
    upstream.inject(/(GET|HEAD) .*\/blobs\//, fault)
    const got = await ask(node.url, path)
    expect([got.status, got.complete]).toEqual([503, true])
  })

  it('their word is no answer to HEAD', async () => {
    const { upstream, node, path } = await setUp()
    upstream.inject('HEAD', faults.hang())
    upstream.inject('GET', faults.hang())
    expect((await ask(node.url, path, { method: 'HEAD' })).status).toBe(503)
  })

  it('a client gets it from upstream, whatever they say', async () => {
    const { node, path } = await setUp()
    const got = await ask(node.url, path)
    expect([got.status, got.complete, layer.equals(got.body)]).toEqual([200, true, true])
  })
})
