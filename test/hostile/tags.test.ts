import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { signTag } from '../../daemon/share/signed-tag.ts'
import { Signer } from '../../daemon/signature.ts'
import { loadIdentity } from '../../daemon/swarm/identity.ts'
import { digestOf } from '../../proxy/oci/digest.ts'
import { ask } from '../fixtures/client.ts'
import { FakeUpstream, faults } from '../fixtures/fake-upstream.ts'
import { startTestNode, type TestNode, type TestNodeOptions, until, untilConnected } from '../fixtures/node.ts'
import { type TestNode as Peer, TestSwarm } from '../fixtures/swarm.ts'
import { newSigner } from '../fixtures/tags.ts'
import { tempDir } from '../fixtures/temp-dir.ts'

const path = '/v2/library/app/manifests/latest'
const reference = 'docker.io/library/app:latest'
const day = 86_400_000
const manifestOf = (name: string) =>
  Buffer.from(JSON.stringify({ schemaVersion: 2, layers: [], annotations: { name } }))
const attackers = manifestOf('of the attacker')
const attackersDigest = digestOf(attackers)

interface Lie {
  /** How much later than now the signer says that upstream said so, in ms. */
  readonly later?: number
  /** Whose name stands under it. */
  readonly as?: string
}

/** Makes a peer say of any tag that it is the attacker's image, from this moment; and have that. */
async function lies(peer: Peer, signer: Signer, { later = 0, as }: Lie = {}) {
  const { content, swarm } = peer
  content.blobs.set(attackersDigest, attackers)
  swarm.advertise(attackersDigest, true)
  content.tag = vi.fn(async (asked) => {
    const now = Date.now()
    const said = signTag(signer, asked, { digest: attackersDigest, mediaType: undefined, at: now + later })
    return { ...said, signer: as ?? said.signer, confirmedAt: now }
  })
  await until(() => peer.status().provided === 1 && peer.status().provideQueue === 0)
}

/** A swarm key, as the configuration of nodes has it. */
async function closedBy() {
  const swarmKey = join(await tempDir(), 'swarm.key')
  await writeFile(swarmKey, `/key/swarm/psk/1.0.0/\n/base16/\n${'5c'.repeat(32)}\n`)
  return { swarmKey }
}

async function startUpstream() {
  const upstream = await FakeUpstream.start()
  onTestFinished(() => upstream.close())
  const digest = upstream.addManifest(manifestOf('of the registry'))
  upstream.tag('library/app', 'latest', digest)
  return { upstream, digest, registries: { 'docker.io': upstream.url } }
}

interface Setting {
  readonly tags?: object
  readonly swarm?: object
  readonly liars?: number
  readonly lie?: Lie
}

/** A node among peers that lie about every tag. */
async function amongLiars({ tags = {}, swarm: options = {}, liars = 3, lie = {} }: Setting = {}) {
  const { upstream, digest, registries } = await startUpstream()
  const config: TestNodeOptions['config'] = {
    tags: { freshFor: '0ms', patience: '300ms', ...tags },
    upstream: { attempts: 1, offlineFor: '0ms' },
    swarm: options,
  }
  const node = await startTestNode({ registries, config })
  const swarm = new TestSwarm()
  onTestFinished(() => swarm.close())
  const seeds = (await node.status()).multiaddrs
  const peers: Peer[] = []
  while (peers.length < liars) peers.push(await swarm.node({ config: { ...options, seeds } }))
  await until(async () => (await node.status()).peers.filter(({ transfer }) => transfer).length === liars)
  for (const peer of peers) await lies(peer, await newSigner(), lie)
  const pull = async () => (await ask(node.url, path)).headers['docker-content-digest']
  const questions = () => peers.reduce((sum, { content }) => sum + vi.mocked(content.tag).mock.calls.length, 0)
  return { upstream, digest, node, peers, pull, questions }
}

type World = Awaited<ReturnType<typeof amongLiars>>

const troubles: readonly [string, (upstream: FakeUpstream) => void][] = [
  ['answers 429', (upstream) => upstream.inject('/v2/', faults.rateLimit('0'))],
  ['answers 500', (upstream) => upstream.inject('/v2/', faults.status(500))],
  ['answers 503', (upstream) => upstream.inject('/v2/', faults.status(503))],
  ['hangs', (upstream) => upstream.inject('/v2/', faults.hang())],
]

describe('a node of an open swarm among peers that lie about tags', () => {
  it.each(troubles)('goes by what it heard itself while its registry %s, and asks no peer', async (_, trouble) => {
    const { upstream, digest, pull, questions } = await amongLiars()
    expect(await pull()).toBe(digest)
    trouble(upstream)
    for (let time = 0; time < 3; time++) expect(await pull()).toBe(digest)
    expect(questions()).toBe(0)
  })

  it('knows nothing rather than a lie while its registry refuses, or is away, and says why', async () => {
    const { upstream, node, questions } = await amongLiars()
    upstream.inject('/v2/', faults.rateLimit('0'))
    expect((await ask(node.url, path)).status).toBe(503)
    await upstream.close()
    const got = await ask(node.url, path)
    expect([got.status, got.body.toString()]).toEqual([503, expect.stringMatching(/tags[.]trustPeers/)])
    expect(questions()).toBe(0)
  })

  it('waits for a registry that is slow', async () => {
    const { upstream, digest, pull, questions } = await amongLiars()
    const { promise, resolve } = Promise.withResolvers<void>()
    upstream.hold('manifests/latest', promise)
    const pulled = pull()
    await upstream.waitForRequest('manifests/latest')
    // Three times its patience.
    setTimeout(resolve, 900)
    expect(await pulled).toBe(digest)
    expect(questions()).toBe(0)
  })

  it.each(['offline', 'always'])('goes by what it knows before strangers that the user trusts: %s', async (trust) => {
    const { upstream, digest, pull, questions } = await amongLiars({ tags: { trustPeers: trust }, liars: 1 })
    expect(await pull()).toBe(digest)
    for (const [, trouble] of troubles) {
      upstream.heal()
      trouble(upstream)
      expect(await pull()).toBe(digest)
    }
    await upstream.close()
    expect(await pull()).toBe(digest)
    expect(questions()).toBe(0)
  })

  it('takes the word of strangers where the user wants it, while the registry is away, and names them', async () => {
    const { upstream, node, pull, peers } = await amongLiars({ tags: { trustPeers: 'offline' }, liars: 1 })
    upstream.inject('/v2/', faults.status(503))
    expect(await pull()).toBeUndefined()
    await upstream.close()
    const got = await ask(node.url, path)
    expect(got.headers['docker-content-digest']).toBe(attackersDigest)
    expect(got.headers.warning).toMatch(/^299 .*, as the peer 12D3KooW\w+ says"$/)
    const said = node.log.find(({ msg }) => msg === 'a peer says what a tag is')
    expect(said).toMatchObject({ reference, digest: attackersDigest, peer: peers[0]?.peerId() })
  })
})

describe('a node of a closed swarm', () => {
  const away = async ({ upstream }: World) => upstream.close()

  it.each(troubles)('asks nobody, where nobody is trusted, while its registry %s', async (what, trouble) => {
    const { upstream, node, digest, pull, questions } = await amongLiars({
      swarm: await closedBy(),
      tags: { trustPeers: 'never' },
      liars: 2,
    })
    trouble(upstream)
    if (what !== 'hangs') expect((await ask(node.url, path)).status).toBe(503)
    upstream.heal()
    await until(async () => (await pull()) === digest)
    trouble(upstream)
    expect(await pull()).toBe(digest)
    await upstream.close()
    expect(await pull()).toBe(digest)
    expect(questions()).toBe(0)
  })

  it.each<[string, Lie]>([
    ['has not signed it', { as: '12D3KooWJWoaqZhDaoEFshF7Rh1bpY9ohihFhzcW6d69Lr2NASuq' }],
    ['has a clock that is a day ahead', { later: day }],
  ])('does not believe one that %s', async (_, lie) => {
    const world = await amongLiars({ swarm: await closedBy(), liars: 2, lie })
    const { digest, pull, questions } = world
    expect(await pull()).toBe(digest)
    await away(world)
    expect(await pull()).toBe(digest)
    expect(questions()).toBeGreaterThan(0)
  })

  it('believes the newer of what it heard and what a member has signed, and what is passed on', async () => {
    const { upstream, digest, registries } = await startUpstream()
    const config = { tags: { freshFor: '1ms', patience: '300ms' }, swarm: await closedBy(), upstream: { attempts: 1 } }
    const nodes: TestNode[] = []
    while (nodes.length < 3) nodes.push(await startTestNode({ registries, config, seeds: nodes.slice(0, 1) }))
    await untilConnected(...nodes)
    const [a, b, c] = nodes as [TestNode, TestNode, TestNode]
    const pull = async (node: TestNode) => (await ask(node.url, path)).headers
    expect((await pull(c))['docker-content-digest']).toBe(digest)
    const moved = upstream.addManifest(manifestOf('moved'))
    upstream.tag('library/app', 'latest', moved)
    expect((await pull(a))['docker-content-digest']).toBe(moved)
    await upstream.close()
    const { peerId } = await a.status()
    for (const node of [b, c]) {
      const headers = await pull(node)
      expect(headers['docker-content-digest']).toBe(moved)
      expect(headers.warning).toMatch(new RegExp(`as the peer ${peerId} says`))
      expect(node.log).toContainEqual(expect.objectContaining({ reference, digest: moved, signer: peerId }))
    }
  })

  it('believes only those that are named, whoever passes it on', async () => {
    const { upstream, registries } = await startUpstream()
    await upstream.close()
    const swarm = new TestSwarm()
    onTestFinished(() => swarm.close())
    const member = await swarm.node()
    const config = {
      tags: { patience: '300ms' },
      upstream: { attempts: 1 },
      swarm: { allowedPeers: [member.peerId()], seeds: [member.address()] },
    }
    const node = await startTestNode({ registries, config })
    await until(async () => (await node.status()).peers.some(({ transfer }) => transfer))
    await lies(member, await newSigner())
    expect((await ask(node.url, path)).status).toBe(503)
    expect(member.content.tag).toHaveBeenCalled()
    // Of the same swarm, the word of the one who is named counts.
    await lies(member, new Signer(await loadIdentity(join(member.dataDir, 'key')), member.peerId()))
    expect((await ask(node.url, path)).headers['docker-content-digest']).toBe(attackersDigest)
  })
})
