import { randomBytes } from 'node:crypto'
import { noise } from '@chainsafe/libp2p-noise'
import { type Identify, identify } from '@libp2p/identify'
import type { Libp2p } from '@libp2p/interface'
import { tcp } from '@libp2p/tcp'
import { yamux } from '@libp2p/yamux'
import { multiaddr } from '@multiformats/multiaddr'
import { createLibp2p } from 'libp2p'
import { pino } from 'pino'
import { afterEach, describe, expect, onTestFinished, test } from 'vitest'
import { frame } from '../../daemon/swarm/conversation.ts'
import { COORDINATORS, MAX_MESSAGE_BYTES, SHARE_PROTOCOL } from '../../daemon/swarm/coordination/constants.ts'
import { nearestPeers } from '../../daemon/swarm/find/nearest.ts'
import { HELLO_PROTOCOL, HELLO_VERSION } from '../../daemon/swarm/hello/constants.ts'
import { hashOf, multihashOf } from '../../daemon/swarm/router/cid.ts'
import { digestOf } from '../../proxy/oci/digest.ts'
import { ShareRecorder } from '../fixtures/share-listener.ts'
import { type TestNode, TestSwarm, transferPeers, until } from '../fixtures/swarm.ts'

const swarm = new TestSwarm()
afterEach(() => swarm.close())

interface Member {
  readonly node: TestNode
  readonly id: string
  readonly heard: ShareRecorder
}

/** Nodes that all know each other. */
async function members(count: number): Promise<Member[]> {
  const started: Member[] = []
  while (started.length < count) {
    const heard = new ShareRecorder()
    const seeds = started.slice(0, 1).map(({ node }) => node.address())
    const node = await swarm.node({ listener: heard, config: { seeds } })
    started.push({ node, id: node.peerId(), heard })
  }
  await until(() => started.every(({ node }) => transferPeers(node) === count - 1))
  return started
}

async function bareNode(): Promise<Libp2p<{ identify: Identify }>> {
  const node = await createLibp2p({
    transports: [tcp()],
    connectionEncrypters: [noise()],
    streamMuxers: [yamux()],
    services: { identify: identify() },
  })
  onTestFinished(() => node.stop())
  return node
}

describe('coordinators of a blob', () => {
  test('are the same for all nodes: those nearest to its key, until one of them leaves', async () => {
    const all = await members(4)
    const ids = all.map(({ id }) => id)
    const digests = Array.from({ length: 20 }, () => digestOf(randomBytes(8)))
    digests.push(digestOf(randomBytes(8), 'sha512'))
    const nearest = (peers: readonly string[]) =>
      digests.map((digest) => nearestPeers(peers, multihashOf(hashOf(digest)), COORDINATORS))
    const asked = ({ node }: Member) =>
      Promise.all(digests.map((digest) => node.swarm.coordination.coordinators(digest)))
    for (const member of all) expect(await asked(member)).toEqual(nearest(ids))
    for (const member of all) expect(await asked(member)).toEqual(nearest(ids))
    const [gone, ...left] = all as [Member, ...Member[]]
    await gone.node.stop()
    await until(() => left.every(({ heard }) => heard.lost.includes(gone.id)))
    for (const member of left) expect(await asked(member)).toEqual(nearest(ids.slice(1)))
  })

  test('are not those who are banned', async () => {
    const [a, b] = (await members(2)) as [Member, Member]
    const digest = digestOf(randomBytes(8))
    expect([...(await a.node.swarm.coordination.coordinators(digest))].sort()).toEqual([a.id, b.id].sort())
    a.node.swarm.ban(b.id, 'wrong bytes')
    expect(await a.node.swarm.coordination.coordinators(digest)).toEqual([a.id])
  })

  test('hear who announces it', async () => {
    const all = await members(3)
    const [a, b, c] = all as [Member, Member, Member]
    const digest = a.node.content.add(randomBytes(10))
    const recorded = () => Promise.all(all.map(({ node }) => node.swarm.coordination.recorded(digest)))
    expect(await recorded()).toEqual([[], [], []])
    a.node.swarm.advertise(digest, true)
    await until(async () => (await recorded()).filter((peers) => peers.includes(a.id)).length === 3)
    expect(await recorded()).toEqual([[a.id], [a.id], [a.id]])
    b.node.content.blobs.set(digest, Buffer.alloc(0))
    b.node.swarm.advertise(digest, true)
    await until(async () => (await c.node.swarm.coordination.recorded(digest)).length === 2)
    c.node.swarm.ban(a.id, 'wrong bytes')
    expect(await c.node.swarm.coordination.recorded(digest)).toEqual([b.id])
  })
})

describe('what is said about claims', () => {
  test('goes both ways, in order', async () => {
    const [a, b] = (await members(2)) as [Member, Member]
    const say = (from: Member, to: Member, n: number) =>
      from.node.swarm.coordination.tell(to.id, { n, bytes: Buffer.from('x') })
    for (let n = 0; n < 100; n++) await say(a, b, n)
    await until(() => b.heard.claims.length === 100)
    for (let n = 0; n < 100; n++) await say(b, a, n)
    await until(() => a.heard.claims.length === 100)
    for (const [member, from] of [
      [a, b],
      [b, a],
    ] as const) {
      expect(member.heard.claims.map(({ peer }) => peer)).toEqual(Array.from({ length: 100 }, () => from.id))
      expect(member.heard.claims.map(({ message }) => (message as { n: number }).n)).toEqual([...Array(100).keys()])
    }
  })

  test('arrives where both sides speak at the same moment, and again when a peer has left and come back', async () => {
    const [a, b] = (await members(2)) as [Member, Member]
    const { coordination } = a.node.swarm
    await Promise.all([coordination.tell(b.id, { n: 1 }), b.node.swarm.coordination.tell(a.id, { n: 1 })])
    await until(() => a.heard.claims.length === 1 && b.heard.claims.length === 1)
    await b.node.restart()
    await until(() => a.heard.lost.length > 0 && transferPeers(a.node) === 1)
    await coordination.tell(b.id, { n: 2 })
    await until(() => b.heard.claims.length === 2)
  })

  test('is refused where it is too long, or the peer is not there', async () => {
    const [a, b] = (await members(2)) as [Member, Member]
    const { coordination } = a.node.swarm
    await expect(coordination.tell(b.id, { bytes: Buffer.alloc(MAX_MESSAGE_BYTES) })).rejects.toThrow(RangeError)
    const nobody = '12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN'
    await expect(coordination.tell(nobody, { n: 1 })).rejects.toThrow()
  })

  test.each([
    ['is too long', Buffer.from([0xff, 0, 0, 0])],
    ['is no CBOR', Buffer.from([0, 0, 0, 1, 0xff])],
    ['the listener throws at', frame({ n: 'malformed' })],
  ])('and %s costs a peer its stream', async (_, bytes) => {
    const heard = new ShareRecorder()
    heard.claim = () => {
      throw new Error('malformed')
    }
    const node = await swarm.node({ listener: heard })
    const peer = await bareNode()
    const stream = await peer.dialProtocol(multiaddr(node.address()), SHARE_PROTOCOL)
    stream.send(bytes)
    await until(() => stream.status !== 'open')
    expect(heard.claims).toEqual([])
  })
})

test('a peer of another version is not used, told our version, and logged once, however often it comes', async () => {
  const lines: Record<string, unknown>[] = []
  const log = pino({ level: 'warn' }, { write: (line: string) => lines.push(JSON.parse(line)) })
  const node = await swarm.node({ log })
  const old = await bareNode()
  const hello = { version: 1, port: 4051, fingerprint: 'ab'.repeat(32) }
  for (let round = 0; round < 3; round++) {
    const connection = await old.dial(multiaddr(node.address()))
    const stream = await connection.newStream(HELLO_PROTOCOL)
    let answer = ''
    stream.addEventListener('message', ({ data }) => (answer += Buffer.from(data.subarray()).toString()))
    stream.send(Buffer.from(`${JSON.stringify(hello)}\n`))
    await until(() => answer.endsWith('\n'))
    expect(JSON.parse(answer)).toMatchObject({ version: HELLO_VERSION })
    const closed = new Promise((resolve) => stream.addEventListener('close', resolve))
    await stream.close()
    await closed
    expect(node.status().peers).toMatchObject([{ transfer: false }])
    await connection.close()
    await until(() => node.status().peers.length === 0)
  }
  expect(lines).toMatchObject([{ level: 40, peer: old.peerId.toString(), version: 1, ownVersion: HELLO_VERSION }])
})
