import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { quarterBytes as chunkBytes } from '../../daemon/verify/quarter.ts'
import { type Digest, digestOf } from '../../proxy/oci/digest.ts'
import { pseudoRandomBytes } from '../fixtures/bytes.ts'
import { ask } from '../fixtures/client.ts'
import type { Fault } from '../fixtures/fake-upstream/faults.ts'
import { FakeUpstream, faults } from '../fixtures/fake-upstream.ts'
import {
  startTestNode,
  swarmKeyFile,
  type TestNode,
  type TestNodeOptions,
  until,
  untilConnected,
} from '../fixtures/node.ts'
import { scriptedBlob } from '../fixtures/peers.ts'
import { spawnNode } from '../fixtures/process.ts'
import { type TestNode as Peer, TestSwarm } from '../fixtures/swarm.ts'
import { tempDir } from '../fixtures/temp-dir.ts'

const layer = pseudoRandomBytes(3 * chunkBytes + 1, 'rules')
const basic = { authorization: `Basic ${Buffer.from('me:secret').toString('base64')}` }

/** Content of `team/secret`, which a test makes a rule for, and of `team/open`. */
async function startUpstream() {
  const upstream = await FakeUpstream.start()
  onTestFinished(() => upstream.close())
  const blob = upstream.addBlob(layer)
  const manifest = upstream.addManifest({ schemaVersion: 2, layers: [{ digest: blob }] })
  for (const repository of ['team/secret', 'team/open']) upstream.tag(repository, 'v1', manifest)
  return { upstream, blob, manifest, options: { registries: { 'docker.io': upstream.url } } }
}

const secret = ['docker.io/team/secret']
const uncached = { repositories: { neverCache: secret } }
const unshared = { repositories: { neverShare: secret } }
const always = { repositories: { alwaysAsk: secret } }

/** A node, and a bare peer of it. */
async function withPeer(options: TestNodeOptions) {
  const node = await startTestNode(options)
  const swarm = new TestSwarm()
  onTestFinished(() => swarm.close())
  const peer = await swarm.node({ config: { seeds: (await node.status()).multiaddrs } })
  await until(async () => (await node.status()).peers.some(({ transfer }) => transfer))
  await until(() => peer.status().peers.some(({ transfer }) => transfer))
  return { node, peer }
}

/** What a peer finds out about a blob and a tag of a node when it asks for them by name. */
async function knownTo(peer: Peer, node: TestNode, digest: Digest, reference = 'docker.io/team/secret:v1') {
  const { peerId } = await node.status()
  const signal = AbortSignal.timeout(5_000)
  const found: string[] = []
  for await (const provider of peer.swarm.providers(digest, AbortSignal.timeout(1_000))) found.push(provider)
  const blob = await peer.swarm.stat(peerId, digest, signal).then(
    () => 'there',
    (error) => error.code,
  )
  const { promise: shared, resolve } = Promise.withResolvers<string>()
  const fetching = peer.sharing.fetch(
    digest,
    scriptedBlob({ introduced: () => resolve('there'), parted: () => resolve('gone') }),
  )
  fetching.readable(false)
  fetching.named([peerId])
  signal.addEventListener('abort', () => resolve('silent'))
  const watched = await shared
  fetching.end(false)
  return { found: found.length, blob, watched, tags: (await peer.swarm.tags(reference, signal, [peerId])).length }
}

const nothing = { found: 0, blob: 'absent', watched: 'gone', tags: 0 }
const everything = { found: 1, blob: 'there', watched: 'there', tags: 1 }

/** All files of blobs, whole or not. */
async function filesOf({ dataDir }: { dataDir: string }): Promise<string[]> {
  const list = await readdir(join(dataDir, 'blobs'), { recursive: true, withFileTypes: true })
  return list.filter((entry) => entry.isFile()).map(({ name }) => name)
}

/** By the whole name: a bare one that is new to a node could be one of its own. */
const get = (node: { url: string }, path: string, headers = {}, method = 'GET') =>
  ask(node.url, `/v2/docker.io/team/${path}`, { headers, method })

async function untilStored(node: TestNode, blobs: number): Promise<void> {
  await until(async () => {
    const { store, provideQueue } = await node.status()
    return store.blobs === blobs && provideQueue === 0
  })
}

/** 401 for those who bring no credentials. */
const loginNeeded: Fault = (answer, request) => {
  if (request.headers.authorization !== undefined) return
  faults.status(401, { 'www-authenticate': 'Basic realm="fake"' })(answer, request)
}

/** The configuration of a swarm that others can't join. */
async function closedSwarm() {
  return { swarm: { swarmKey: await swarmKeyFile() } }
}

describe('a repository that is never cached', () => {
  it('is passed through: tag, manifest and blob, whole, by HEAD and in ranges; nothing of it is kept', async () => {
    const { upstream, blob, manifest, options } = await startUpstream()
    const { node, peer } = await withPeer({ ...options, config: uncached })
    const asked = vi.spyOn(peer.content, 'tag')
    for (let time = 1; time <= 2; time++) {
      const byTag = await get(node, 'secret/manifests/v1')
      expect(byTag).toMatchObject({ status: 200, headers: { 'docker-content-digest': manifest } })
      expect(digestOf(byTag.body)).toBe(manifest)
      const whole = await get(node, `secret/blobs/${blob}`)
      expect(whole).toMatchObject({ status: 200, complete: true, headers: { 'content-length': `${layer.length}` } })
      expect(digestOf(whole.body)).toBe(blob)
      expect(upstream.seen('HEAD /v2/team/secret/manifests/v1')).toHaveLength(time)
      expect(upstream.seen('GET /v2/team/secret/manifests/')).toHaveLength(time)
      expect(upstream.seen('GET /v2/team/secret/blobs/')).toHaveLength(time)
    }
    expect(await get(node, `secret/blobs/${blob}`, {}, 'HEAD')).toMatchObject({
      status: 200,
      headers: { 'content-length': `${layer.length}` },
    })
    for (const [range, start, end] of [
      ['bytes=0-', 0, layer.length - 1],
      ['bytes=5-9', 5, 9],
      [`bytes=${2 * chunkBytes}-`, 2 * chunkBytes, layer.length - 1],
      ['bytes=-7', layer.length - 7, layer.length - 1],
    ] as const) {
      const part = await get(node, `secret/blobs/${blob}`, { range })
      expect(part).toMatchObject({ status: 206, complete: true })
      expect(layer.subarray(start, end + 1).equals(part.body)).toBe(true)
    }
    expect((await get(node, `secret/blobs/${blob}`, { range: 'bytes=99999999-' })).status).toBe(416)
    expect(await filesOf(node)).toEqual([])
    expect(await node.status()).toMatchObject({ store: { blobs: 0, bytes: 0 }, provided: 0 })
    expect(await knownTo(peer, node, blob)).toEqual(nothing)
    expect(await knownTo(peer, node, manifest)).toEqual(nothing)
    await upstream.close()
    expect((await get(node, 'secret/manifests/v1')).status).toBe(503)
    expect((await get(node, `secret/blobs/${blob}`)).status).toBe(503)
    expect((await get(node, `secret/blobs/${blob}`, {}, 'HEAD')).status).toBe(503)
    expect(asked).not.toHaveBeenCalled()
  })

  it('is passed through without a length, and empty, and goes on where the transfer breaks', async () => {
    const { upstream, blob, options } = await startUpstream()
    const node = await startTestNode({ ...options, config: uncached })
    upstream.inject('GET', faults.chunked(), 1)
    expect(digestOf((await get(node, `secret/blobs/${blob}`)).body)).toBe(blob)
    upstream.inject('GET', faults.truncate(chunkBytes + 5), 1)
    const resumed = await get(node, `secret/blobs/${blob}`)
    expect([resumed.complete, digestOf(resumed.body)]).toEqual([true, blob])
    const empty = upstream.addBlob(Buffer.alloc(0))
    expect(await get(node, `secret/blobs/${empty}`)).toMatchObject({ status: 200, complete: true })
    expect(await filesOf(node)).toEqual([])
  })

  it('gives nobody a wrong blob whole, nor the end of a range of one, nor a wrong manifest', async () => {
    const { upstream, blob, manifest, options } = await startUpstream()
    const node = await startTestNode({ ...options, config: uncached })
    upstream.inject('GET', faults.corrupt(chunkBytes))
    expect((await get(node, `secret/blobs/${blob}`)).complete).toBe(false)
    expect((await get(node, `secret/blobs/${blob}`, { range: 'bytes=0-9' })).complete).toBe(false)
    upstream.heal()
    upstream.inject('GET', faults.corrupt())
    expect((await get(node, `secret/manifests/${manifest}`)).status).toBe(503)
    upstream.heal()
    upstream.inject('GET', faults.status(404))
    expect((await get(node, `secret/blobs/${blob}`)).status).toBe(404)
  })

  it('ends its transfer when the client hangs up', async () => {
    const { upstream, blob, options } = await startUpstream()
    const node = await startTestNode({ ...options, config: uncached })
    upstream.inject('GET', faults.hangAfter(chunkBytes))
    await ask(node.url, `/v2/team/secret/blobs/${blob}`, { hangUpAfter: 1000 })
    await upstream.waitForSockets(0)
  })

  it('gives what another repository has brought to disk to those who may have it, and to nobody else', async () => {
    const { upstream, blob, options } = await startUpstream()
    const node = await startTestNode({ ...options, config: uncached })
    upstream.inject('/v2/team/secret/', loginNeeded)
    upstream.inject('/v2/team/open/', loginNeeded)
    await get(node, `open/blobs/${blob}`, basic)
    await untilStored(node, 1)
    expect((await get(node, `secret/blobs/${blob}`)).status).toBe(401)
    expect(digestOf((await get(node, `secret/blobs/${blob}`, basic)).body)).toBe(blob)
    // Who has the password is confirmed by HEAD, and gets what is on disk.
    const asked = upstream.seen('GET /v2/team/secret/blobs/').map(({ headers }) => headers.authorization)
    expect(asked.filter((authorization) => authorization !== undefined)).toEqual([])
    expect(await filesOf(node)).toHaveLength(1)
  })

  it('loses what an earlier run has kept of it, parts and tags too, and nothing else does', async () => {
    const { upstream, blob, manifest, options } = await startUpstream()
    const [other, both] = ['other', 'both'].map((text) => upstream.addBlob(Buffer.from(text))) as [Digest, Digest]
    const part = upstream.addBlob(pseudoRandomBytes(3 * chunkBytes, 'part'))
    const before = await startTestNode(options)
    await get(before, 'secret/manifests/v1')
    await get(before, 'open/manifests/v1')
    for (const path of [`secret/blobs/${blob}`, `open/blobs/${other}`]) await get(before, path)
    upstream.inject(`/blobs/${both}`, loginNeeded)
    for (const repository of ['secret', 'open']) {
      await get(before, `${repository}/blobs/${both}`, basic)
      await until(async () => (await before.status()).store.blobs === 4)
    }
    upstream.inject(`GET /v2/team/secret/blobs/${part}`, faults.hangAfter(2 * chunkBytes))
    await ask(before.url, `/v2/team/secret/blobs/${part}`, { hangUpAfter: chunkBytes })
    await before.stop()
    expect((await filesOf(before)).filter((name) => name.endsWith('.data'))).toHaveLength(1)
    upstream.heal()
    const rules = { repositories: { neverCache: secret }, tags: { freshFor: '1h' } }
    const after = await startTestNode({ ...options, dataDir: before.dataDir, config: rules })
    // The manifest was fetched for the secret one first, and is kept by nothing.
    const kept = [other, both].map((digest) => digest.slice('sha256:'.length))
    expect((await filesOf(after)).toSorted()).toEqual(kept.toSorted())
    expect((await after.status()).store.blobs).toBe(2)
    await upstream.close()
    expect((await get(after, `open/blobs/${other}`)).status).toBe(200)
    expect((await get(after, `secret/blobs/${blob}`)).status).toBe(503)
    expect((await get(after, 'secret/manifests/v1')).status).toBe(503)
    expect((await get(after, 'open/manifests/v1', {}, 'HEAD')).headers['docker-content-digest']).toBe(manifest)
    await after.stop()
    // It is gone, not only hidden.
    const without = await startTestNode({ ...options, dataDir: before.dataDir })
    expect((await get(without, 'secret/manifests/v1', {}, 'HEAD')).status).toBe(503)
    expect((await get(without, 'open/manifests/v1', {}, 'HEAD')).status).toBe(200)
  })

  it('can be named by a variable', async () => {
    const { upstream, blob } = await startUpstream()
    const dataDir = await tempDir()
    const variables = ['env', 'LAYERD_REPOSITORIES_NEVER_CACHE=docker.io/team/*,!docker.io/team/open']
    const node = await spawnNode(dataDir, ['--registry', `docker.io=${upstream.url}`], variables)
    expect(digestOf((await get(node, `secret/blobs/${blob}`)).body)).toBe(blob)
    expect(await filesOf({ dataDir })).toEqual([])
    expect(digestOf((await get(node, `open/blobs/${blob}`)).body)).toBe(blob)
    await until(async () => (await filesOf({ dataDir })).length === 1)
  })
})

describe('a repository that is never shared', () => {
  it('is kept for the clients of the node, and no peer hears of it', async () => {
    const { upstream, blob, manifest, options } = await startUpstream()
    const { node, peer } = await withPeer({ ...options, config: unshared })
    const asked = vi.spyOn(peer.content, 'tag')
    for (let time = 0; time < 2; time++) {
      expect(digestOf((await get(node, 'secret/manifests/v1')).body)).toBe(manifest)
      expect(digestOf((await get(node, `secret/blobs/${blob}`)).body)).toBe(blob)
    }
    expect(upstream.requests.map(({ method }) => method)).toEqual(['HEAD', 'GET', 'GET'])
    await untilStored(node, 2)
    await upstream.close()
    expect((await node.status()).provided).toBe(0)
    expect(await knownTo(peer, node, blob)).toEqual(nothing)
    expect(await knownTo(peer, node, manifest)).toEqual(nothing)
    expect((await get(node, `secret/blobs/${blob}`)).status).toBe(200)
    expect((await get(node, `secret/blobs/${blob}`, { range: 'bytes=5-9' })).body.equals(layer.subarray(5, 10))).toBe(
      true,
    )
    const unknown = digestOf(Buffer.from('unknown'))
    for (const path of ['secret/manifests/v2', `secret/blobs/${unknown}`]) {
      for (const method of ['GET', 'HEAD']) expect((await get(node, path, {}, method)).status).toBe(503)
    }
    expect(asked).not.toHaveBeenCalled()
  })

  it('takes nothing from peers that have it', async () => {
    const { upstream, blob, options } = await startUpstream()
    const { node, peer } = await withPeer({ ...options, config: unshared })
    peer.content.add(layer)
    peer.swarm.advertise(blob, true)
    await until(() => peer.status().provided === 1)
    expect(digestOf((await get(node, `secret/blobs/${blob}`)).body)).toBe(blob)
    expect(await node.metric('layerd_fetched_bytes_total{source="peer"}')).toBe(0)
    expect(peer.content.opened).toBe(0)
    expect(upstream.seen('GET')).toHaveLength(1)
    const other = peer.content.add(Buffer.from('other'))
    peer.swarm.advertise(other, true)
    await until(() => peer.status().provided === 2)
    expect((await get(node, `secret/blobs/${other}`, {}, 'HEAD')).status).toBe(404)
    await upstream.close()
    expect((await get(node, `secret/blobs/${other}`, {}, 'HEAD')).status).toBe(503)
    expect((await get(node, `secret/blobs/${other}`)).status).toBe(503)
  })

  it('does not leave the node in a closed swarm either, where others do', async () => {
    const { upstream, blob, manifest, options } = await startUpstream()
    upstream.requireBasic('me', 'secret')
    const config = { ...unshared, ...(await closedSwarm()) }
    const a = await startTestNode({ ...options, config })
    const b = await startTestNode({ ...options, config, seeds: [a] })
    await untilConnected(a, b)
    for (const path of ['secret/manifests/v1', `secret/blobs/${blob}`]) await get(a, path, basic)
    await untilStored(a, 2)
    expect((await a.status()).provided).toBe(0)
    upstream.inject('GET', faults.status(500))
    expect((await get(b, `secret/blobs/${blob}`, basic)).status).toBe(503)
    expect(await a.metric('layerd_served_bytes_total{to="peer"}')).toBe(0)
    // Upstream says that it is in the open one as well.
    expect((await get(a, `open/blobs/${blob}`, basic)).status).toBe(200)
    await until(async () => (await a.status()).provided === 1)
    expect(digestOf((await get(b, `open/blobs/${blob}`, basic)).body)).toBe(blob)
    expect(await b.metric('layerd_fetched_bytes_total{source="peer"}')).toBe(layer.length)
    await upstream.close()
    // The tags of the one are nobody's business, those of the other the fleet's.
    await get(a, 'open/manifests/v1', basic)
    expect((await get(b, 'secret/manifests/v1', basic)).status).toBe(503)
    expect((await get(a, `secret/manifests/${manifest}`, basic)).status).toBe(200)
  })

  it('says nothing of a repository to a peer that may have the blob from another one', async () => {
    const { upstream, blob, options } = await startUpstream()
    upstream.requireBasic('me', 'secret')
    const config = { ...unshared, ...(await closedSwarm()) }
    const node = await startTestNode({ ...options, config })
    await get(node, `secret/blobs/${blob}`, basic)
    await untilStored(node, 1)
    await get(node, `open/blobs/${blob}`, basic)
    const swarm = new TestSwarm()
    onTestFinished(() => swarm.close())
    const peer = await swarm.node({ config: { ...config.swarm, seeds: (await node.status()).multiaddrs } })
    await until(() => peer.status().peers.some(({ transfer }) => transfer))
    const { peerId } = await node.status()
    const facts = await peer.swarm.stat(peerId, blob, AbortSignal.timeout(5_000))
    expect(facts).toMatchObject({ access: 'private', repositories: ['docker.io/team/open'] })
  })

  it('is shared where upstream says that it is in another one: for a client that asks for it there, and not before', async () => {
    const { upstream, blob, options } = await startUpstream()
    const { node, peer } = await withPeer({ ...options, config: unshared })
    await get(node, `secret/blobs/${blob}`)
    await untilStored(node, 1)
    upstream.inject('/v2/team/open/', faults.status(404))
    expect(digestOf((await get(node, `open/blobs/${blob}`)).body)).toBe(blob)
    await upstream.waitForRequest('HEAD /v2/team/open/blobs/')
    expect((await node.status()).provided).toBe(0)
    upstream.heal()
    await until(async () => {
      await get(node, `open/blobs/${blob}`)
      return (await node.status()).provided === 1
    })
    await get(node, 'open/manifests/v1')
    expect(await knownTo(peer, node, blob, 'docker.io/team/open:v1')).toEqual(everything)
    const questions = upstream.seen('/blobs/').length
    await get(node, `open/blobs/${blob}`)
    await get(node, `secret/blobs/${blob}`)
    expect(upstream.seen('/blobs/')).toHaveLength(questions)
  })

  it.each(['secret first', 'open first'])(
    'does not make private content of another one public for an open swarm: %s',
    async (order) => {
      const { upstream, blob, options } = await startUpstream()
      const { node, peer } = await withPeer({ ...options, config: unshared })
      upstream.inject('/v2/team/open/', loginNeeded)
      const pulls = [() => get(node, `secret/blobs/${blob}`), () => get(node, `open/blobs/${blob}`, basic)]
      for (const pull of order === 'secret first' ? pulls : pulls.toReversed()) {
        expect((await pull()).status).toBe(200)
        await untilStored(node, 1)
      }
      if (order === 'secret first') {
        await upstream.waitForRequest('HEAD /v2/team/open/blobs/')
        // A second question would follow if the first one had told nothing.
        await get(node, `open/blobs/${blob}`, basic)
      }
      expect(await knownTo(peer, node, blob, 'docker.io/team/open:v1')).toEqual(nothing)
      expect((await node.status()).provided).toBe(0)
    },
  )

  it('is served from what is just being fetched for another one', async () => {
    const { upstream, blob, options } = await startUpstream()
    const { node, peer } = await withPeer({ ...options, config: unshared })
    upstream.inject('GET', faults.slow(2 * chunkBytes))
    const open = get(node, `open/blobs/${blob}`)
    await until(async () => (await node.metric('layerd_served_bytes_total{to="client"}')) > 0)
    const pulls = await Promise.all([open, get(node, `secret/blobs/${blob}`)])
    for (const { body, complete } of pulls) expect([complete, digestOf(body)]).toEqual([true, blob])
    expect(upstream.seen('GET').map(({ path }) => path)).toEqual([`/v2/team/open/blobs/${blob}`])
    await until(async () => (await node.status()).provided === 1)
    await get(node, 'open/manifests/v1')
    expect(await knownTo(peer, node, blob, 'docker.io/team/open:v1')).toEqual(everything)
  })

  it('is no longer shared after a restart with the rule, for those who were told of it before', async () => {
    const { upstream, blob, manifest, options } = await startUpstream()
    const before = await startTestNode(options)
    const b = await startTestNode({ ...options, seeds: [before] })
    await untilConnected(before, b)
    await get(before, 'secret/manifests/v1')
    await get(before, `secret/blobs/${blob}`)
    await until(async () => (await before.status()).provided === 2)
    await before.stop()
    const after = await startTestNode({ ...options, dataDir: before.dataDir, config: unshared, seeds: [b] })
    await untilConnected(after, b)
    await upstream.close()
    for (const path of ['secret/manifests/v1', `secret/manifests/${manifest}`, `secret/blobs/${blob}`]) {
      expect((await get(b, path)).status).toBe(503)
      expect((await get(after, path)).status).toBe(200)
    }
    expect((await after.status()).provided).toBe(0)
    expect(await after.metric('layerd_served_bytes_total{to="peer"}')).toBe(0)
  })
})

describe('a repository that is always asked', () => {
  it('has each tag from upstream, and from nobody else', async () => {
    const { upstream, manifest, options } = await startUpstream()
    const config = { ...always, tags: { freshFor: '1h', immutable: ['v*'] } }
    const a = await startTestNode({ ...options, config: { tags: config.tags } })
    const b = await startTestNode({ ...options, config, seeds: [a] })
    await untilConnected(a, b)
    await get(a, 'secret/manifests/v1')
    const tagQuestions = () => upstream.seen('/v2/team/secret/manifests/v1').length
    for (let time = 2; time <= 4; time++) {
      expect((await get(b, 'secret/manifests/v1')).headers['docker-content-digest']).toBe(manifest)
      expect(tagQuestions()).toBe(time)
    }
    const moved = upstream.addManifest({ schemaVersion: 2, layers: [] })
    upstream.tag('team/secret', 'v1', moved)
    expect((await get(b, 'secret/manifests/v1', {}, 'HEAD')).headers['docker-content-digest']).toBe(moved)
    expect((await get(a, 'secret/manifests/v1')).headers['docker-content-digest']).toBe(manifest)
    await upstream.close()
    const refused = await get(b, 'secret/manifests/v1')
    expect([refused.status, refused.headers.warning]).toEqual([503, undefined])
  })

  it('gives content only after upstream said so in this very request, public or not', async () => {
    const { upstream, blob, manifest, options } = await startUpstream()
    const node = await startTestNode({ ...options, config: always })
    const paths = [`secret/blobs/${blob}`, `secret/manifests/${manifest}`]
    for (const path of paths) {
      for (let time = 1; time <= 3; time++) {
        expect((await get(node, path)).status).toBe(200)
        expect(upstream.seen(`HEAD /v2/team/${path}`)).toHaveLength(time)
        expect(upstream.seen(`GET /v2/team/${path}`)).toHaveLength(1)
      }
      upstream.inject('HEAD', faults.status(403), 2)
      upstream.inject('GET', faults.status(403), 2)
      for (const method of ['GET', 'HEAD']) expect((await get(node, path, {}, method)).status).toBe(403)
      upstream.heal()
    }
    await untilStored(node, 2)
    const open = `open/blobs/${blob}`
    const questions = upstream.seen('/v2/team/open').length
    expect((await get(node, open)).status).toBe(200)
    expect(upstream.seen('/v2/team/open')).toHaveLength(questions)
    await upstream.close()
    for (const path of paths) {
      for (const method of ['GET', 'HEAD']) expect((await get(node, path, {}, method)).status).toBe(503)
    }
    expect((await get(node, open)).status).toBe(200)
  })

  it('gives private content by no grant, and asks in the name of each asker', async () => {
    const { upstream, blob, options } = await startUpstream()
    upstream.requireBasic('me', 'secret')
    const node = await startTestNode({ ...options, config: always })
    for (let time = 0; time < 2; time++) {
      expect((await get(node, `secret/blobs/${blob}`, basic)).status).toBe(200)
      expect((await get(node, `secret/blobs/${blob}`)).status).toBe(401)
    }
    upstream.requireBasic('me', 'another')
    expect((await get(node, `secret/blobs/${blob}`, basic)).status).toBe(401)
    upstream.requireBasic('me', 'secret')
    await upstream.close()
    expect((await get(node, `secret/blobs/${blob}`, basic)).status).toBe(503)
  })

  it('may be had from peers once upstream has said so', async () => {
    const { upstream, blob, options } = await startUpstream()
    const a = await startTestNode({ ...options, config: always })
    const b = await startTestNode({ ...options, config: always, seeds: [a] })
    await untilConnected(a, b)
    await get(a, `secret/blobs/${blob}`)
    await until(async () => (await a.status()).provided === 1)
    expect(digestOf((await get(b, `secret/blobs/${blob}`)).body)).toBe(blob)
    expect(await b.metric('layerd_fetched_bytes_total{source="peer"}')).toBe(layer.length)
    const other = upstream.addBlob(pseudoRandomBytes(100, 'other'))
    await get(a, `secret/blobs/${other}`)
    await until(async () => (await a.status()).provided === 2)
    await upstream.close()
    expect((await get(b, `secret/blobs/${other}`)).status).toBe(503)
  })
})

describe('a tag', () => {
  it('that is immutable is asked for once, also after a restart and offline; others as often as their pattern says', async () => {
    const { upstream, manifest, options } = await startUpstream()
    upstream.tag('team/open', 'latest', manifest)
    const config = { tags: { freshness: ['*=1h', 'latest=0s'], immutable: ['docker.io/team/open:v*'] } }
    const before = await startTestNode({ ...options, config })
    for (let time = 0; time < 3; time++) {
      for (const path of ['open/manifests/v1', 'open/manifests/latest', 'secret/manifests/v1']) {
        expect((await get(before, path)).headers['docker-content-digest']).toBe(manifest)
      }
    }
    const questions = (path: string) => upstream.seen(`HEAD /v2/team/${path}`).length
    expect(['open/manifests/v1', 'open/manifests/latest', 'secret/manifests/v1'].map(questions)).toEqual([1, 3, 1])
    await before.stop()
    const rules = { tags: { freshFor: '0s', immutable: ['v*'] } }
    const after = await startTestNode({ ...options, dataDir: before.dataDir, config: rules })
    await get(after, 'open/manifests/v1')
    expect(questions('open/manifests/v1')).toBe(1)
    await upstream.close()
    const immutable = await get(after, 'open/manifests/v1')
    expect([immutable.status, immutable.headers.warning]).toEqual([200, undefined])
    const other = await get(after, 'open/manifests/latest')
    expect([other.status, other.headers.warning]).toEqual([200, expect.stringMatching(/^299/)])
  })
})
