import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import { quarterBytes } from '../../daemon/verify/quarter.ts'
import { type Digest, digestOf } from '../../proxy/oci/digest.ts'
import { pseudoRandomBytes } from '../fixtures/bytes.ts'
import { certificateFor } from '../fixtures/certificates.ts'
import { ask } from '../fixtures/client.ts'
import type { Fault } from '../fixtures/fake-upstream/faults.ts'
import { FakeUpstream, faults } from '../fixtures/fake-upstream.ts'
import { startTestNode, type TestNode, type TestNodeOptions, until, untilConnected } from '../fixtures/node.ts'
import { Overheard } from '../fixtures/overhear.ts'
import { scriptedBlob } from '../fixtures/peers.ts'
import { type TestNode as Peer, TestSwarm } from '../fixtures/swarm.ts'
import { tempDir } from '../fixtures/temp-dir.ts'
import { TestProxy } from '../fixtures/test-proxy.ts'

const basic = { authorization: `Basic ${Buffer.from('me:secret').toString('base64')}` }
const nothingElse = { repositories: { public: [] } }

/** 401 for those who bring no credentials. */
const loginNeeded: Fault = (answer, request) => {
  if (request.headers.authorization === basic.authorization) return
  faults.status(401, { 'www-authenticate': 'Basic realm="fake"' })(answer, request)
}

interface Image {
  readonly repository: string
  readonly manifest: Digest
  readonly layers: readonly Digest[]
}

/** An image whose layers no other one has. */
function addImage(upstream: FakeUpstream, repository: string): Image {
  const sizes = [2 * quarterBytes + 1, 500]
  const layers = sizes.map((size) => upstream.addBlob(pseudoRandomBytes(size, repository + size)))
  const config = upstream.addBlob(Buffer.from(`{"config of":"${repository}"}`))
  const named = layers.map((digest, index) => ({ digest, size: sizes[index] }))
  const manifest = upstream.addManifest({ schemaVersion: 2, config: { digest: config }, layers: named })
  upstream.tag(repository, 'v1', manifest)
  return { repository, manifest, layers: [config, ...layers] }
}

type Mirror = Pick<TestNode, 'url'>

/** As a client does: the tag, the manifest, the layers, of which one in two ranges. @returns the statuses */
async function pull(node: Mirror, { repository, manifest, layers }: Image, headers = {}, ns = ''): Promise<number[]> {
  const whole = ns === '' ? `docker.io/${repository}` : repository
  const get = async (path: string, more = {}, method = 'GET') =>
    (await ask(node.url, `/v2/${whole}/${path}${ns}`, { headers: { ...headers, ...more }, method })).status
  const [config, layer, small] = layers
  return [
    await get('manifests/v1', {}, 'HEAD'),
    await get(`manifests/${manifest}`),
    await get(`blobs/${config}`),
    await get(`blobs/${layer}`, { range: 'bytes=0-99' }),
    await get(`blobs/${layer}`, { range: `bytes=${quarterBytes}-${quarterBytes + 99}` }),
    await get(`blobs/${small}`, {}, 'HEAD'),
    await get(`blobs/${small}`),
  ]
}

const ok = [200, 200, 200, 206, 206, 200, 200]

/** Docker Hub at its own address, as the node sees it, with an image that needs a login and one that does not. */
async function dockerHub() {
  const pair = await certificateFor('registry-1.docker.io')
  const upstream = await FakeUpstream.start({ tls: pair })
  const proxy = await TestProxy.start({ routes: { 'registry-1.docker.io:443': upstream.host } })
  onTestFinished(async () => {
    await proxy[Symbol.asyncDispose]()
    await upstream.close()
  })
  const ca = join(await tempDir(), 'ca.pem')
  await writeFile(ca, pair.cert)
  upstream.inject('/v2/acme/', loginNeeded)
  const secret = addImage(upstream, 'acme/secret')
  const open = addImage(upstream, 'somebody/open')
  const official = addImage(upstream, 'library/alpine')
  const registry = { endpoint: 'https://registry-1.docker.io', proxy: proxy.url, ca: [ca] }
  return { upstream, secret, open, official, registries: { 'docker.io': registry } }
}

/** A node of an open swarm among strangers. */
async function amongStrangers(options: TestNodeOptions) {
  const overheard = new Overheard()
  const node = await startTestNode({ ...options, config: { ...nothingElse, ...options.config } })
  const swarm = new TestSwarm()
  onTestFinished(() => swarm.close())
  const peers: Peer[] = []
  const seeds = (await node.status()).multiaddrs
  while (peers.length < 3) peers.push(await swarm.node({ config: { seeds } }))
  await until(async () => (await node.status()).peers.filter(({ transfer }) => transfer).length === peers.length)
  return { node, peers, overheard }
}

function heardOf(overheard: Overheard, { repository, manifest, layers }: Image, registry = 'docker.io') {
  return {
    name: overheard.has(repository),
    tag: overheard.hasTag(`${registry}/${repository}:v1`),
    digests: [manifest, ...layers].filter((digest) => overheard.hasDigest(digest)),
  }
}

const nothing = { name: false, tag: false, digests: [] }

/** Longest time that a stranger waits for an answer, in ms. Without one it has found out nothing, also not that there is nothing. */
const answerTimeout = 60_000

/** What a stranger finds out who asks a node for an image by name. */
async function toldTo(peer: Peer, node: TestNode, { repository, manifest, layers }: Image, registry = 'docker.io') {
  const { peerId } = await node.status()
  const told: string[] = []
  for (const digest of [manifest, ...layers]) {
    const lookup = AbortSignal.timeout(answerTimeout)
    for await (const provider of peer.swarm.providers(digest, lookup)) told.push(`by ${provider}`)
    lookup.throwIfAborted()
    const asked = peer.swarm.stat(peerId, digest, AbortSignal.timeout(answerTimeout))
    await asked.then(
      () => told.push(`has ${digest}`),
      (error) => expect(error).toMatchObject({ code: 'absent' }),
    )
    const shared = await sharedBy(peer, peerId, digest)
    if (shared) told.push(`shares ${digest}`)
  }
  const signal = AbortSignal.timeout(answerTimeout)
  for (const { digest } of await peer.swarm.tags(`${registry}/${repository}:v1`, signal, [peerId])) told.push(digest)
  signal.throwIfAborted()
  return told
}

/** Whether a peer introduces a blob to one that asks for it. @throws where it says nothing at all */
async function sharedBy(peer: Peer, peerId: string, digest: Digest): Promise<boolean> {
  const { promise, resolve, reject } = Promise.withResolvers<boolean>()
  const timer = setTimeout(() => reject(new Error('it has not said whether it shares the blob')), answerTimeout)
  const fetching = peer.sharing.fetch(
    digest,
    scriptedBlob({ introduced: () => resolve(true), parted: () => resolve(false) }),
  )
  try {
    fetching.readable(false)
    fetching.named([peerId])
    return await promise
  } finally {
    clearTimeout(timer)
    fetching.end(false)
  }
}

async function untilStored(node: TestNode, blobs: number): Promise<void> {
  await until(async () => {
    const { store, provideQueue } = await node.status()
    return store.blobs >= blobs && provideQueue === 0
  })
}

describe('strangers in an open swarm', () => {
  it.each([undefined, 'always'])(
    'hear nothing of a private image of a public registry (tags.trustPeers: %s)',
    async (trust) => {
      const { upstream, secret, registries } = await dockerHub()
      const tags = { freshFor: '1ms', patience: '1s', ...(trust && { trustPeers: trust }) }
      const { node, peers, overheard } = await amongStrangers({ registries, config: { tags } })
      // As containerd does: first without credentials.
      expect(await pull(node, secret)).toEqual(Array(7).fill(401))
      expect(await pull(node, secret, basic)).toEqual(ok)
      await untilStored(node, 4)
      for (const peer of peers) expect(await toldTo(peer, node, secret)).toEqual([])
      const missing = { ...secret, layers: [...secret.layers].reverse(), manifest: digestOf(Buffer.from('missing')) }
      upstream.inject('/v2/', faults.rateLimit('0'))
      await pull(node, missing, basic)
      await upstream.close()
      await pull(node, missing, basic)
      expect(await pull(node, secret, basic)).toEqual(ok)
      expect((await node.status()).provided).toBe(0)
      // What they have asked for themselves they know.
      const { digests, ...names } = heardOf(overheard, secret)
      expect([names, digests.length]).toEqual([{ name: true, tag: true }, 4])
    },
  )

  it('hear nothing of what a client asks for with credentials, or without, on its way to a refusal', async () => {
    const { upstream, secret, registries } = await dockerHub()
    const { node, overheard } = await amongStrangers({ registries, config: { tags: { trustPeers: 'always' } } })
    const byDigest = { ...secret, repository: 'acme/by-digest' }
    for (const image of [byDigest, secret]) {
      expect((await pull(node, image)).slice(1)).toEqual(Array(6).fill(401))
      await pull(node, image, basic)
    }
    upstream.inject('/v2/', faults.status(503))
    await pull(node, { ...secret, repository: 'acme/third' }, basic)
    await upstream.close()
    await pull(node, { ...secret, repository: 'acme/fourth' }, basic)
    expect(heardOf(overheard, secret)).toEqual(nothing)
    expect(overheard.has('acme')).toBe(false)
  })

  it('hear nothing of an image of a registry that only its network protects', async () => {
    const upstream = await FakeUpstream.start()
    onTestFinished(() => upstream.close())
    const image = addImage(upstream, 'team/app')
    const { node, peers, overheard } = await amongStrangers({
      registries: { 'lan.example': upstream.url },
      config: { tags: { trustPeers: 'always', freshFor: '1ms', patience: '1s' } },
    })
    const ns = '?ns=lan.example'
    upstream.inject('GET', faults.slow(2 * quarterBytes))
    const pulling = pull(node, image, {}, ns)
    await upstream.waitForRequest(image.layers[1] ?? '')
    expect(heardOf(overheard, image, 'lan.example')).toEqual(nothing)
    // Nor while it arrives.
    const [stranger] = peers
    const { peerId } = await node.status()
    const asked = stranger?.swarm.stat(peerId, image.layers[1] as Digest, AbortSignal.timeout(5_000))
    await expect(asked).rejects.toMatchObject({ code: 'absent' })
    expect(await pulling).toEqual(ok)
    upstream.heal()
    // The layer of which only ranges were asked for is fetched to its end.
    await untilStored(node, 4)
    const { name, tag } = heardOf(overheard, image, 'lan.example')
    expect([name, tag, (await node.status()).provided]).toEqual([false, false, 0])
    for (const peer of peers) expect(await toldTo(peer, node, image, 'lan.example')).toEqual([])
    // The node's own clients have it from the cache, as before.
    const before = upstream.requests.length
    await upstream.close()
    expect(await pull(node, image, {}, ns)).toEqual(ok)
    expect(await pull(node, image, basic, ns)).toEqual(ok)
    expect(upstream.requests).toHaveLength(before)
  })

  it('get it where the configuration says that it is public, and hear of it at once', async () => {
    const upstream = await FakeUpstream.start()
    onTestFinished(() => upstream.close())
    const image = addImage(upstream, 'open/app')
    const { node, peers, overheard } = await amongStrangers({
      registries: { 'lan.example': upstream.url },
      config: { repositories: { public: ['lan.example/open/**'] } },
    })
    expect(await pull(node, image, {}, '?ns=lan.example')).toEqual(ok)
    await untilStored(node, 4)
    await until(async () => (await node.status()).provided === 4)
    expect(heardOf(overheard, image).digests).toHaveLength(4)
    const [peer] = peers as [Peer]
    const told = await toldTo(peer, node, image, 'lan.example')
    expect(told.filter((what) => what.startsWith('shares'))).toHaveLength(4)
  })
})

describe('public images of public registries', () => {
  it.each(['open', 'official'] as const)(
    'cost no question that they did not cost before, and are shared: %s',
    async (which) => {
      const hub = await dockerHub()
      const image = hub[which]
      const { node, overheard } = await amongStrangers({ registries: hub.registries })
      expect(await pull(node, image)).toEqual(ok)
      await until(async () => (await node.status()).provided === 4)
      expect(heardOf(overheard, image)).toMatchObject({ name: false, tag: false })
      expect(heardOf(overheard, image).digests).toHaveLength(4)
      const asked = hub.upstream.requests.filter(({ path }) => path.includes(image.repository))
      const heads = asked.filter(({ method }) => method === 'HEAD').map(({ path }) => path.split('/').at(-2))
      // The tag, and the blob that the client asks for by HEAD.
      expect(heads).toEqual(['manifests', 'blobs'])
      expect(asked.filter(({ path }) => path.endsWith(image.manifest))).toHaveLength(1)
    },
  )

  it('are asked for once by digest before strangers hear of a repository that may be private', async () => {
    const { upstream, open, registries } = await dockerHub()
    const { node, overheard } = await amongStrangers({ registries })
    const { promise, resolve } = Promise.withResolvers<void>()
    upstream.hold('HEAD', promise)
    const path = `/v2/${open.repository}`
    const pulled = ask(node.url, `${path}/manifests/${open.manifest}`)
    await upstream.waitForRequest(`HEAD ${path}/manifests/${open.manifest}`)
    expect(heardOf(overheard, open)).toEqual(nothing)
    resolve()
    expect((await pulled).status).toBe(200)
    expect(overheard.hasDigest(open.manifest)).toBe(true)
    for (const layer of open.layers) expect((await ask(node.url, `${path}/blobs/${layer}`)).status).toBe(200)
    expect(upstream.seen('HEAD')).toHaveLength(1)
  })

  it('are had from strangers by a laptop that was never online, where it asks for them as anybody', async () => {
    const { upstream, open, secret, registries } = await dockerHub()
    const config = { ...nothingElse, tags: { trustPeers: 'offline' } }
    const a = await startTestNode({ registries, config })
    expect(await pull(a, open)).toEqual(ok)
    expect(await pull(a, secret, basic)).toEqual(ok)
    await upstream.close()
    const b = await startTestNode({ registries, config, seeds: [a] })
    await untilConnected(a, b)
    await until(async () => (await a.status()).provided === 4)
    expect(await pull(b, open)).toEqual(ok)
    expect(await pull(b, secret, basic)).toEqual(Array(7).fill(503))
  })
})

describe('a registry that says yes to everything', () => {
  const layer = pseudoRandomBytes(2 * quarterBytes + 5, 'a secret of another registry')
  const digest = digestOf(layer)
  const sloppy: Fault = (answer, { method }) => {
    if (method === 'HEAD' && answer.status === 404)
      Object.assign(answer, { status: 200, headers: { 'docker-content-digest': digest }, body: layer })
  }

  async function start() {
    const keeper = await FakeUpstream.start()
    const other = await FakeUpstream.start()
    onTestFinished(async () => {
      await keeper.close()
      await other.close()
    })
    keeper.inject('/v2/', loginNeeded)
    keeper.addBlob(layer)
    other.inject('/v2/', sloppy)
    return { keeper, other, registries: { 'keeper.example': keeper.url, 'other.example': other.url } }
  }

  const from = async (node: Mirror, registry: string, headers = {}, method = 'GET') =>
    await ask(node.url, `/v2/any/app/blobs/${digest}?ns=${registry}.example`, { headers, method })

  it.each([
    ['', {}],
    [', asked each time', { alwaysAsk: ['other.example/**'] }],
  ])('opens nothing that another one keeps, for clients or for strangers%s', async (_, rules) => {
    const { other, registries } = await start()
    const config = { repositories: { public: ['**'], ...rules } }
    const { node, peers } = await amongStrangers({ registries, config })
    expect((await from(node, 'keeper', basic)).status).toBe(200)
    await untilStored(node, 1)
    for (let time = 0; time < 2; time++) {
      await from(node, 'other', {}, 'HEAD')
      expect((await from(node, 'other')).status).toBe(404)
      expect((await from(node, 'other', basic)).status).toBe(404)
    }
    expect(other.seen('GET').length).toBeGreaterThan(0)
    expect((await from(node, 'keeper')).status).toBe(401)
    const { peerId, provided } = await node.status()
    expect(provided).toBe(0)
    for (const { swarm } of peers) {
      const asked = swarm.stat(peerId, digest, AbortSignal.timeout(5_000))
      await expect(asked).rejects.toMatchObject({ code: 'absent' })
    }
  })

  it('gives what it has itself, which is public then', async () => {
    const { other, registries } = await start()
    const { node } = await amongStrangers({ registries, config: { repositories: { public: ['other.example/**'] } } })
    expect((await from(node, 'keeper', basic)).status).toBe(200)
    await untilStored(node, 1)
    other.addBlob(layer)
    const got = await from(node, 'other')
    expect([got.status, digestOf(got.body)]).toEqual([200, digest])
    await until(async () => (await node.status()).provided === 1)
    expect((await from(node, 'keeper')).status).toBe(200)
  })

  it('opens nothing of what its swarm has, nor of what an earlier fetch has left', async () => {
    const { keeper, registries } = await start()
    const swarmKey = join(await tempDir(), 'swarm.key')
    await writeFile(swarmKey, `/key/swarm/psk/1.0.0/\n/base16/\n${'5c'.repeat(32)}\n`)
    const config = { swarm: { swarmKey } }
    const a = await startTestNode({ registries, config })
    const b = await startTestNode({ registries, config, seeds: [a] })
    await untilConnected(a, b)
    keeper.inject(`GET /v2/any/app/blobs/${digest}`, faults.hangAfter(quarterBytes + 1), 1)
    const left = await ask(b.url, `/v2/any/app/blobs/${digest}?ns=keeper.example`, {
      headers: basic,
      hangUpAfter: 1000,
    })
    expect(left.status).toBe(200)
    expect((await from(b, 'other')).status).toBe(404)
    expect((await from(a, 'keeper', basic)).status).toBe(200)
    await until(async () => (await a.status()).provided === 1)
    for (let time = 0; time < 2; time++) expect((await from(b, 'other')).status).toBe(404)
  })
})
