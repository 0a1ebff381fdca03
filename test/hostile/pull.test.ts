import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { FakeUpstream } from '../fixtures/fake-upstream.ts'
import { startTestNode, type TestNode, until } from '../fixtures/node.ts'
import { TestSwarm, transferPeers } from '../fixtures/swarm.ts'
import { addImage, manifestType, pull } from './image.ts'
import { type Gang, HOSTILE_KINDS, type HostileKind, HostilePeer, newGang } from './peer.ts'

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
  return (await pull(node.url, image)).ms
}

async function underAttack(gang: Gang, what: string, kindOf: (index: number) => HostileKind): Promise<void> {
  const base = await baseline()
  const { node, image } = await attack(gang, kindOf)
  const pulled = await pull(node.url, image)
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
  await pull(honest.url, image)
  await until(async () => {
    const { provided, provideQueue } = await honest.status()
    return provided >= 1 + image.blobs.length && provideQueue === 0
  }, 30_000)
  await upstream.close()
  const base = await baseline()
  const pulled = await pull(node.url, image)
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
