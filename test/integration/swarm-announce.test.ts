import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { noise } from '@chainsafe/libp2p-noise'
import type { Libp2p, Stream } from '@libp2p/interface'
import { tcp } from '@libp2p/tcp'
import { yamux } from '@libp2p/yamux'
import { LevelDatastore } from 'datastore-level'
import { createLibp2p } from 'libp2p'
import { pino } from 'pino'
import { afterEach, describe, expect, test } from 'vitest'
import { ANNOUNCE_PROTOCOL, MAX_KEYS, MAX_WORKING } from '../../daemon/swarm/announce/constants.ts'
import { encodeAnnouncement } from '../../daemon/swarm/announce/message.ts'
import { PeerPublisher } from '../../daemon/swarm/announce/peer-publisher.ts'
import { announceServer } from '../../daemon/swarm/announce/server.ts'
import { hashOf } from '../../daemon/swarm/router/cid.ts'
import { RecordStore } from '../../daemon/swarm/router/record-store.ts'
import { type Digest, digestOf } from '../../proxy/oci/digest.ts'
import { providersOf, type TestNode, TestSwarm, transferPeers, until } from '../fixtures/swarm.ts'

const swarm = new TestSwarm()
const cleanUp: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const step of cleanUp.splice(0).reverse()) await step()
  await swarm.close()
})

const log = pino({ level: 'silent' })

/** Adds blobs, as if they had been completed at once. */
function addBlobs(node: TestNode, count: number): Digest[] {
  return Array.from({ length: count }, () => node.content.add(randomBytes(16)))
}

/** Waits until a node has told its peers everything. */
async function untilTold(node: TestNode, blobs: number): Promise<void> {
  await until(() => node.status().provided === blobs && node.status().provideQueue === 0)
}

/** How many of the digests a stopped node has records of, by which the peer has them. */
async function recordsOf(node: TestNode, peerId: string, digests: readonly Digest[]): Promise<number> {
  await node.stop()
  const datastore = new LevelDatastore(join(node.dataDir, 'dht'))
  await datastore.open()
  try {
    const records = new RecordStore({ db: datastore.db, self: '' })
    const found = await Promise.all(digests.map((digest) => records.providers(hashOf(digest))))
    return found.filter((providers) => providers.includes(peerId)).length
  } finally {
    await datastore.close()
  }
}

describe('what a node has', () => {
  test('is found by all others, and each has a record of it', async () => {
    const [a, ...others] = (await swarm.mesh(5)) as [TestNode, ...TestNode[]]
    const digests = addBlobs(a, 10)
    for (const digest of digests) a.swarm.advertise(digest, true)
    for (const node of others) {
      for (const digest of digests) await until(async () => (await providersOf(node, digest)).includes(a.peerId()))
    }
    await untilTold(a, 10)
    const peerId = a.peerId()
    for (const node of others) expect(await recordsOf(node, peerId, digests)).toBe(10)
  })

  test('is told to a node that joins later, however much it is', async () => {
    const a = await swarm.node()
    const digests = addBlobs(a, 2 * MAX_KEYS + 10)
    for (const digest of digests) a.swarm.advertise(digest, true)
    await untilTold(a, digests.length)
    const b = await swarm.node({ config: { seeds: [a.address()] } })
    await until(() => transferPeers(a) === 1)
    await untilTold(a, digests.length)
    expect(await recordsOf(b, a.peerId(), digests)).toBe(digests.length)
  })

  test('that was held before a start is told to all, and what is fresh meanwhile, too', async () => {
    const [a, b] = await swarm.pair()
    const old = addBlobs(a, 3 * MAX_KEYS)
    await a.restart()
    await until(() => transferPeers(a) === 1)
    const [fresh] = addBlobs(a, 1) as [Digest]
    a.swarm.advertise(fresh, true)
    await until(async () => (await providersOf(b, fresh)).length === 1)
    await untilTold(a, old.length + 1)
    expect(await recordsOf(b, a.peerId(), [...old, fresh])).toBe(old.length + 1)
  })

  test('is still known to a peer that starts again while the node is away', async () => {
    const [a, b] = await swarm.pair()
    const digests = addBlobs(a, 3)
    for (const digest of digests) a.swarm.advertise(digest, true)
    await untilTold(a, 3)
    const peerId = a.peerId()
    await a.stop()
    await b.restart()
    expect(await recordsOf(b, peerId, digests)).toBe(3)
  })
})

describe('a blob that is withdrawn', () => {
  test('is no longer named by anybody', async () => {
    const [a, b, c] = (await swarm.mesh(3)) as [TestNode, TestNode, TestNode]
    const [digest, other] = addBlobs(a, 2) as [Digest, Digest]
    for (const one of [digest, other]) a.swarm.advertise(one, true)
    await untilTold(a, 2)
    expect(await providersOf(b, digest)).toEqual([a.peerId()])
    await a.swarm.withdraw(digest)
    for (const node of [b, c]) await until(async () => (await providersOf(node, digest)).length === 0)
    expect(await providersOf(c, other)).toEqual([a.peerId()])
    const peerId = a.peerId()
    for (const node of [b, c]) expect(await recordsOf(node, peerId, [digest, other])).toBe(1)
  })

  test('is taken back from a peer that was away when it is there again', async () => {
    const [a, b] = await swarm.pair()
    const [digest, other] = addBlobs(a, 2) as [Digest, Digest]
    for (const one of [digest, other]) a.swarm.advertise(one, true)
    await untilTold(a, 2)
    const restarted = b.restart()
    await until(() => transferPeers(a) === 0)
    a.content.blobs.delete(digest)
    await a.swarm.withdraw(digest)
    await restarted
    await until(() => transferPeers(a) === 1 && transferPeers(b) === 1)
    await until(async () => (await providersOf(b, digest)).length === 0)
    await untilTold(a, 1)
    expect(await recordsOf(b, a.peerId(), [digest, other])).toBe(1)
  })
})

/** A bare libp2p node, and one that keeps what is announced to it, within bounds. */
async function bareNodes(bounds?: { ofPeer: number; ofAll: number }) {
  const create = async () => {
    const node = await createLibp2p({
      addresses: { listen: ['/ip4/127.0.0.1/tcp/0'] },
      transports: [tcp()],
      connectionEncrypters: [noise()],
      streamMuxers: [yamux()],
    })
    cleanUp.push(async () => node.stop())
    return node
  }
  const [announcing, keeping] = [await create(), await create()]
  const datastore = new LevelDatastore(await swarm.folder())
  await datastore.open()
  cleanUp.push(() => datastore.close())
  const records = new RecordStore({ db: datastore.db, self: keeping.peerId.toString(), ...(bounds && { bounds }) })
  await keeping.handle(ANNOUNCE_PROTOCOL, announceServer(records, log))
  await announcing.dial(keeping.getMultiaddrs())
  return { announcing, keeping, records }
}

function publisherOf(node: Libp2p, shared: ReadonlySet<Digest>): PeerPublisher {
  const openStream = (_: string, signal: AbortSignal): Promise<Stream> => {
    const [peer] = node.getPeers()
    if (peer === undefined) throw new Error('nobody is connected')
    return node.dialProtocol(peer, ANNOUNCE_PROTOCOL, { signal })
  }
  const publisher = new PeerPublisher({ openStream, shared, isLarge: () => false, log })
  publisher.start()
  cleanUp.push(() => publisher.stop())
  return publisher
}

describe('a node that is told', () => {
  test('records the peer at the other end of the connection, and no more of it than its bounds', async () => {
    const { announcing, keeping, records } = await bareNodes({ ofPeer: 5, ofAll: 100 })
    const digests = Array.from({ length: 20 }, () => digestOf(randomBytes(8)))
    const publisher = publisherOf(announcing, new Set(digests))
    publisher.connected(keeping.peerId.toString())
    await until(() => publisher.queued === 0)
    const found = await Promise.all(digests.map((digest) => records.providers(hashOf(digest))))
    expect(found.filter((providers) => providers.length > 0)).toEqual(
      Array.from({ length: 5 }, () => [announcing.peerId.toString()]),
    )
  })

  test('lets nobody take back the records of another', async () => {
    const { announcing, keeping, records } = await bareNodes()
    const key = randomBytes(32)
    await records.place('12D3KooWGRUZnBbzYdFwTVFtQFqGr8gsnB7UkC7hkXhDGdhhvxcv', [key])
    const stream = await announcing.dialProtocol(keeping.peerId, ANNOUNCE_PROTOCOL)
    const answered = new Promise((resolve) => stream.addEventListener('message', resolve, { once: true }))
    stream.send(encodeAnnouncement({ id: 1, kind: 'withdraw', keys: [key] }))
    await answered
    expect(await records.providers(key)).toHaveLength(1)
  })

  const key = randomBytes(32)
  const ping = encodeAnnouncement({ id: 1, kind: 'place', keys: [key] })
  const bad = [
    { what: 'has too many keys', bytes: Buffer.from([0, 0, 0, 1, 1, 0xff, 0xff]) },
    { what: 'is of no known kind', bytes: Buffer.from([0, 0, 0, 1, 9, 0, 1]) },
    { what: 'does not wait for answers', bytes: Buffer.concat(Array.from({ length: MAX_WORKING + 1 }, () => ping)) },
  ]
  for (const { what, bytes } of bad) {
    test(`cuts off a peer whose message ${what}`, async () => {
      const { announcing, keeping } = await bareNodes()
      const stream = await announcing.dialProtocol(keeping.peerId, ANNOUNCE_PROTOCOL)
      const closed = new Promise((resolve) => stream.addEventListener('close', resolve, { once: true }))
      stream.send(bytes)
      await closed
      expect(stream.status).not.toBe('open')
    })
  }

  test('is told again when the stream was lost', async () => {
    const { announcing, keeping, records } = await bareNodes()
    const shared = new Set<Digest>()
    const publisher = publisherOf(announcing, shared)
    publisher.connected(keeping.peerId.toString())
    const place = async () => {
      const digest = digestOf(randomBytes(8))
      shared.add(digest)
      publisher.place(digest)
      await until(async () => (await records.providers(hashOf(digest))).length === 1)
    }
    await place()
    for (const { streams } of announcing.getConnections()) {
      for (const stream of streams) if (stream.protocol === ANNOUNCE_PROTOCOL) stream.abort(new Error('lost'))
    }
    await place()
  })
})
