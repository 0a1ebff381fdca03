import { randomBytes } from 'node:crypto'
import { afterEach, expect, test } from 'vitest'
import { nearestPeers } from '../../daemon/swarm/find/nearest.ts'
import { hashOf, multihashOf } from '../../daemon/swarm/router/cid.ts'
import { digestOf } from '../../proxy/oci/digest.ts'
import { ShareRecorder } from '../fixtures/share-listener.ts'
import { collect, providersOf, type TestNode, TestSwarm, until } from '../fixtures/swarm.ts'

const swarm = new TestSwarm()
afterEach(() => swarm.close(), 120_000)

const maxConnections = 16
const nodes = 22
const patience = 240_000

interface Member {
  readonly node: TestNode
  readonly id: string
  readonly heard: ShareRecorder
}

async function member(seeds: readonly Member[]): Promise<Member> {
  const heard = new ShareRecorder()
  const config = { maxConnections, seeds: seeds.map(({ node }) => node.address()) }
  const node = await swarm.node({ listener: heard, config })
  return { node, id: node.peerId(), heard }
}

const connections = ({ node }: Member) => node.status().peers.map(({ peerId }) => peerId)

/** The node nearest to a blob's key. */
const nearestOf = (members: readonly Member[], digest: ReturnType<typeof digestOf>) =>
  nearestPeers(
    members.map(({ id }) => id),
    multihashOf(hashOf(digest)),
    1,
  )[0]

async function agree(members: readonly Member[], digest: ReturnType<typeof digestOf>): Promise<boolean> {
  const named = await Promise.all(members.map(({ node }) => node.swarm.coordination.coordinators(digest)))
  return named.every(([first]) => first === nearestOf(members, digest))
}

test('nodes of a swarm that is larger than their connections find, ask and tell each other as in a small one', async () => {
  const first = await member([])
  const members = [first]
  while (members.length < nodes) members.push(await member(members.slice(0, 2)))

  // All within their bound, and each with enough to know its neighbours.
  await until(
    () => members.every((one) => connections(one).length <= maxConnections && connections(one).length >= 6),
    patience,
  )

  // All ask the same coordinator, the nearest one, which most are not connected with.
  const digests = Array.from({ length: 5 }, () => digestOf(randomBytes(8)))
  for (const digest of digests) await until(() => agree(members, digest), patience)

  // A blob that one node has is found by all.
  const [, holder] = members as [Member, Member]
  const content = randomBytes(1_000)
  const blob = holder.node.content.add(content)
  holder.node.swarm.advertise(blob, true)
  await until(() => holder.node.status().provideQueue === 0, patience)
  for (const { node, id } of members)
    if (id !== holder.id) await until(async () => (await providersOf(node, blob)).includes(holder.id), patience)

  // One that is not connected with it gets it, by a connection for that.
  const stranger = members.find((one) => one !== holder && !connections(one).includes(holder.id))
  if (stranger === undefined) throw new Error('all are connected with one node')
  const { body } = await stranger.node.swarm.open(holder.id, blob, { start: 0 }, AbortSignal.timeout(60_000))
  expect(await collect(body)).toEqual(content)

  // What is said about claims comes to a node that is not connected, from whom it says.
  const [asker, coordinator] = members.flatMap((one) =>
    members.filter((other) => other !== one && !connections(one).includes(other.id)).map((other) => [one, other]),
  )[0] as [Member, Member]
  await asker.node.swarm.coordination.tell(coordinator.id, { n: 1 })
  await coordinator.node.swarm.coordination.tell(asker.id, { n: 2 })
  await until(() => asker.heard.claims.length > 0)
  expect(coordinator.heard.claims).toEqual([{ peer: asker.id, message: { n: 1 } }])
  expect(asker.heard.claims).toEqual([{ peer: coordinator.id, message: { n: 2 } }])
  expect(connections(asker)).not.toContain(coordinator.id)

  // A ban holds for what comes by way of others, too.
  coordinator.node.swarm.ban(asker.id, 'wrong bytes')
  await expect(asker.node.swarm.coordination.tell(coordinator.id, { n: 3 })).rejects.toThrow('refused')

  // Once the nearest node has left, all ask the next one; and what one has withdrawn is found no more.
  const [digest] = digests as [ReturnType<typeof digestOf>]
  const gone = nearestOf(members, digest)
  await members.find(({ id }) => id === gone)?.node.stop()
  const left = members.filter(({ id }) => id !== gone)
  const trusting = left.filter(({ id }) => id !== coordinator.id)
  await until(async () => {
    const named = await Promise.all(trusting.map(({ node }) => node.swarm.coordination.coordinators(digest)))
    return named.every(([one]) => one === nearestOf(left, digest) || one === nearestOf(trusting, digest))
  }, patience)
  if (gone === holder.id) return
  await holder.node.swarm.withdraw(blob)
  for (const { node } of left) await until(async () => (await providersOf(node, blob)).length === 0, patience)
}, 900_000)
