import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { KeySpace } from '../../daemon/swarm/find/key-space.ts'
import { hashOf, multihashOf } from '../../daemon/swarm/router/cid.ts'
import { chunkBytes } from '../../daemon/verify/quarter.ts'
import { type Digest, digestOf } from '../../proxy/oci/digest.ts'
import { pseudoRandomBytes } from '../fixtures/bytes.ts'
import { ask } from '../fixtures/client.ts'
import { FakeUpstream } from '../fixtures/fake-upstream.ts'
import { startTestNode, type TestNode, until } from '../fixtures/node.ts'
import { TestSwarm, transferPeers } from '../fixtures/swarm.ts'
import { betray, type Gang, HOSTILE_KINDS, type HostileKind, HostilePeer, newGang } from './peer.ts'

const manifestType = 'application/vnd.oci.image.manifest.v1+json'

interface Image {
  readonly manifest: Digest
  readonly blobs: readonly Digest[]
}

/** Bytes of which a node does not coordinate the blob, as far as it sees: whoever attacks a blob makes PeerIds that are near it. */
function farFrom(self: string, others: readonly string[], make: (attempt: number) => Buffer): Buffer {
  const space = new KeySpace()
  for (const peer of [self, ...others]) space.add(peer)
  for (let attempt = 0; ; attempt++) {
    const bytes = make(attempt)
    const [nearest] = space.nearest(multihashOf(hashOf(digestOf(bytes))), 1)
    if (nearest !== self || others.length === 0) return bytes
  }
}

let images = 0

/** An image of 12 MiB, at upstream and known to hostile peers. */
async function addImage(upstream: FakeUpstream, gang: Gang, self: string): Promise<Image> {
  const name = `image ${images++}`
  const others = gang.peers.map(({ id }) => id)
  const add = async (what: string, size: number) => {
    const bytes = farFrom(self, others, (attempt) => pseudoRandomBytes(size, `${name} ${what} ${attempt}`))
    const digest = upstream.addBlob(bytes)
    await betray(gang, digest, bytes)
    return { digest, size }
  }
  const config = { mediaType: 'application/vnd.oci.image.config.v1+json', ...(await add('config', 2_000)) }
  const mediaType = 'application/vnd.oci.image.layer.v1.tar'
  const layers = [
    { mediaType, ...(await add('first', 8 * chunkBytes)) },
    { mediaType, ...(await add('second', 4 * chunkBytes - 2_000)) },
  ]
  const bytes = farFrom(self, others, (attempt) =>
    Buffer.from(
      JSON.stringify({ schemaVersion: 2, mediaType: manifestType, config, layers, annotations: { attempt } }),
    ),
  )
  const manifest = upstream.addManifest(bytes, manifestType)
  await betray(gang, manifest, bytes)
  return { manifest, blobs: [config, ...layers].map(({ digest }) => digest) }
}

/** Pulls once, as containerd does: what does not come at the first try is a failure. @returns ms, and what each request took */
async function pull(node: TestNode, { manifest, blobs }: Image) {
  const since = performance.now()
  const took: number[] = []
  const get = async (path: string, digest: Digest) => {
    const began = performance.now()
    const got = await ask(node.url, path)
    took.push(Math.round(performance.now() - began))
    expect([path, got.status, got.complete, digestOf(got.body)]).toEqual([path, 200, true, digest])
  }
  await get(`/v2/app/manifests/${manifest}`, manifest)
  await Promise.all(blobs.map((blob) => get(`/v2/app/blobs/${blob}`, blob)))
  return { ms: Math.round(performance.now() - since), took }
}

/** A node that sees the gang, and perhaps an honest peer that has the image, which has just come. */
async function victim(upstream: FakeUpstream, seeds: readonly string[], peers: number): Promise<TestNode> {
  const node = await startTestNode({ registries: { 'docker.io': upstream.url }, config: { swarm: { seeds } } })
  await until(async () => (await node.status()).peers.filter(({ transfer }) => transfer).length >= peers, 60_000)
  return node
}

/** Beside other work on two cores everything takes longer, with hostile peers and without. */
const SLACK_MS = Number(process.env.LAYERD_HOSTILE_SLACK_MS ?? 5_000)

/** How long a pull may take by the issue, in ms. @param base what it takes without hostile peers */
const mostMs = (base: number) => Math.max(base + 2_000, 1.2 * base) + Math.max(SLACK_MS, 10 * base)

function tell(
  what: string,
  { ms, took }: { readonly ms: number; readonly took: readonly number[] },
  base: number,
): void {
  process.stdout.write(`hostile: ${what}: ${ms} ms (${took.join(', ')}), without them ${base} ms\n`)
}

/** A gang of so many, which is there for all tests of a group. */
function gangOf(count: number): Gang {
  const swarm = new TestSwarm()
  const gang = newGang()
  beforeAll(async () => {
    while (gang.peers.length < count) await HostilePeer.join(gang, swarm)
  }, 120_000)
  afterAll(() => swarm.close())
  return gang
}

/** A node meets a gang, whose members say that they have an image. @param kindOf what each of them is */
async function attack(gang: Gang, kindOf: (index: number) => HostileKind, more: readonly string[] = []) {
  const upstream = await FakeUpstream.start()
  onTestFinished(() => upstream.close())
  const seeds = [...gang.peers.map(({ node }) => node.address()), ...more]
  const node = await victim(upstream, seeds, seeds.length)
  const { peerId } = await node.status()
  for (const [index, peer] of gang.peers.entries()) {
    peer.rest()
    peer.kind = kindOf(index)
    await until(() => transferPeers(peer.node) > 0, 30_000)
  }
  const image = await addImage(upstream, gang, peerId)
  for (const peer of gang.peers) await peer.announce([image.manifest, ...image.blobs])
  return { upstream, node, image }
}

/** What a pull of such an image takes without them. */
async function baseline(): Promise<number> {
  const upstream = await FakeUpstream.start()
  onTestFinished(() => upstream.close())
  const node = await victim(upstream, [], 0)
  const image = await addImage(upstream, newGang(), (await node.status()).peerId)
  return (await pull(node, image)).ms
}

async function underAttack(gang: Gang, what: string, kindOf: (index: number) => HostileKind): Promise<void> {
  const base = await baseline()
  const { node, image } = await attack(gang, kindOf)
  const pulled = await pull(node, image)
  tell(`${gang.peers.length} ${what}`, pulled, base)
  expect(pulled.ms).toBeLessThan(mostMs(base))
}

/** The image is at one honest peer, and upstream is down. */
async function withoutUpstream(gang: Gang, what: string, kindOf: (index: number) => HostileKind): Promise<void> {
  const helper = await FakeUpstream.start()
  onTestFinished(() => helper.close())
  const honest = await startTestNode({ registries: { 'docker.io': helper.url } })
  const { multiaddrs } = await honest.status()
  const { upstream, node, image } = await attack(gang, kindOf, multiaddrs.slice(0, 1))
  for (const { manifest, blobs } of [image]) {
    helper.addManifest(gang.blobs.get(manifest)?.bytes ?? Buffer.alloc(0), manifestType)
    for (const blob of blobs) helper.addBlob(gang.blobs.get(blob)?.bytes ?? Buffer.alloc(0))
  }
  await pull(honest, image)
  await until(async () => {
    const { provided, provideQueue } = await honest.status()
    return provided >= 1 + image.blobs.length && provideQueue === 0
  }, 30_000)
  await upstream.close()
  const base = await baseline()
  const pulled = await pull(node, image)
  tell(`${gang.peers.length} ${what}, upstream down`, pulled, base)
  // A machine on which a plain pull takes a second is a busy one.
  expect(pulled.ms).toBeLessThan(Math.max(10_000, 15 * base) + SLACK_MS)
}

/** The whole table takes minutes: `LAYERD_HOSTILE=all`. */
const isWhole = process.env.LAYERD_HOSTILE === 'all'

describe.each(isWhole ? [1, 3, 8] : [3])('%i hostile peers of one kind', (count) => {
  const gang = gangOf(count)

  it.each(HOSTILE_KINDS)('(%s) hardly hold up a pull, which is right at the first try', async (kind) => {
    await underAttack(gang, kind, () => kind)
  })

  it.each(isWhole ? HOSTILE_KINDS : (['size', 'coordinator', 'wrong'] as const))(
    '(%s) do not keep it from an honest peer, when upstream is down',
    async (kind) => {
      await withoutUpstream(gang, kind, () => kind)
    },
  )
})

describe.each(isWhole ? [8, 32] : [7])('%i hostile peers of all kinds', (count) => {
  const gang = gangOf(count)
  const kindOf = (index: number): HostileKind => HOSTILE_KINDS[index % HOSTILE_KINDS.length] ?? 'mute'

  it('hardly hold up a pull, which is right at the first try', async () => {
    await underAttack(gang, 'of all kinds', kindOf)
  })

  it('do not keep it from an honest peer, when upstream is down', async () => {
    await withoutUpstream(gang, 'of all kinds', kindOf)
  })
})
