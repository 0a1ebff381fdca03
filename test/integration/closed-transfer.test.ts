import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { expect, it, onTestFinished } from 'vitest'
import { nearestPeers } from '../../daemon/swarm/find/nearest.ts'
import { hashOf, multihashOf } from '../../daemon/swarm/router/cid.ts'
import { ask } from '../fixtures/client.ts'
import { FakeUpstream } from '../fixtures/fake-upstream.ts'
import { startTestNode, type TestNode, until } from '../fixtures/node.ts'

/** Peers look for a transfer server at the address of the p2p connection, 127.0.0.1: this one is not there. */
const elsewhere = '127.0.0.3'

/**
 * Two nodes and an upstream. The transfer port of the first one is closed: nothing listens where the second one looks for it.
 * @param take what listens there takes connections with
 */
async function setUp(take?: (socket: Socket) => void) {
  const upstream = await FakeUpstream.start()
  onTestFinished(() => upstream.close())
  const registries = { 'docker.io': upstream.url }
  const closed = await startTestNode({ registries, config: { swarm: { transferListen: `${elsewhere}:0` } } })
  const port = Number(closed.addresses.transfer.split(':').at(-1))
  const listener = take && (await listenAt(port, take))
  const open = await startTestNode({ registries, seeds: [closed] })
  const pull = async (node: TestNode, blob: string) => {
    const started = performance.now()
    const { complete, status } = await ask(node.url, `/v2/app/blobs/${blob}`)
    expect({ complete, status }).toEqual({ complete: true, status: 200 })
    return performance.now() - started
  }
  const newBlob = () => upstream.addBlob(randomBytes(1_500_000))
  return { upstream, closed, open, port, listener, pull, newBlob }
}

async function listenAt(port: number, take: (socket: Socket) => void): Promise<Server> {
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    sockets.add(socket.on('error', () => {}).once('close', () => sockets.delete(socket)))
    take(socket)
  }).listen(port, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  return server
}

const problemAt = async (node: TestNode) => (await node.status()).peers[0]?.transferProblem
const warnings = ({ log }: TestNode) =>
  log.filter(({ level, msg }) => level === 40 && /transfer port/.test(String(msg)))
const metric = (node: TestNode, source: string) => node.metric(`layerd_fetched_bytes_total{source="${source}"}`)

/** A node that waits for the peer takes a second for each blob. */
const WAITED_MS = 950

/** ms for the fastest of a few: the machine may be busy. */
async function pullSome({ closed, open, pull, newBlob }: Awaited<ReturnType<typeof setUp>>): Promise<number> {
  const took: number[] = []
  for (let round = 0; round < 5; round++) {
    const blob = newBlob()
    await pull(closed, blob)
    took.push(await pull(open, blob))
  }
  return Math.min(...took)
}

it('does not wait for a peer whose transfer port refuses connections, and says which port to open', async () => {
  const scene = await setUp()
  const { open, closed, port, pull, newBlob } = scene
  await until(async () => (await problemAt(open)) !== undefined)
  expect(await problemAt(open)).toContain(`open TCP port ${port} of 127.0.0.1`)
  expect((await open.status()).peers[0]).toMatchObject({ transfer: false })
  expect(await pullSome(scene)).toBeLessThan(WAITED_MS)
  expect(await metric(open, 'peer')).toBe(0)

  // The other direction is not closed.
  const blob = newBlob()
  await pull(open, blob)
  await until(async () => (await open.status()).store.blobs === 6)
  await pull(closed, blob)
  expect(await metric(closed, 'peer')).toBe(1_500_000)

  await until(() => warnings(open).length > 0)
})

it('reads upstream where such a peer has the turn to do so', async () => {
  const { open, closed, pull, newBlob } = await setUp()
  await until(async () => (await problemAt(open)) !== undefined)
  const ids = await Promise.all([closed, open].map(async (node) => (await node.status()).peerId))
  const took: number[] = []
  while (took.length < 5) {
    const blob = newBlob()
    // The one that can not be fetched from coordinates it, and is the first to ask.
    if (nearestPeers(ids, multihashOf(hashOf(blob)), 1)[0] !== ids[0]) continue
    const [, ms] = await Promise.all([pull(closed, blob), pull(open, blob)])
    took.push(ms)
  }
  expect(Math.min(...took)).toBeLessThan(WAITED_MS)
})

it('finds out where the port takes connections and nothing more, and when it is open at last', async () => {
  let isForwarding = false
  const scene = await setUp((socket) => {
    if (!isForwarding) return
    const onward = connect(scene.port, elsewhere)
    onward.on('error', () => socket.destroy())
    socket.once('close', () => onward.destroy())
    socket.pipe(onward).pipe(socket)
  })
  const { open, closed, pull, newBlob } = scene
  const first = newBlob()
  await pull(closed, first)
  await pull(open, first)
  await until(async () => (await problemAt(open)) !== undefined)
  expect(await pullSome(scene)).toBeLessThan(WAITED_MS)
  await until(() => warnings(open).length > 0)
  isForwarding = true
  await until(async () => (await open.status()).peers[0]?.transfer === true)
  expect(warnings(open)).toHaveLength(1)
  expect(open.log.filter(({ msg }) => msg === 'the transfer port of a peer is open now')).toHaveLength(1)
  const blob = newBlob()
  await pull(closed, blob)
  await until(async () => (await closed.status()).provideQueue === 0)
  const before = await metric(open, 'peer')
  await pull(open, blob)
  expect(await metric(open, 'peer')).toBe(before + 1_500_000)
})

it('tells the peer, which says so, and asks for turns like any other node instead of giving them to itself', {
  timeout: 60_000,
}, async () => {
  const { upstream, closed, open, port, pull, newBlob } = await setUp()
  const problems = async (node: TestNode) => (await node.status()).problems.map(({ text }) => text)
  await until(async () => (await problems(closed)).length > 0)
  expect(await problems(closed)).toEqual([
    expect.stringMatching(new RegExp(`1 of 1 peers can't reach .* at 127.0.0.1:${port} .*open TCP port ${port}`)),
  ])
  expect(await problems(open)).toEqual([])
  await until(() => warnings(closed).length > 0)
  expect(warnings(closed)).toHaveLength(1)
  // Half of them have the closed node as their nearest.
  for (let round = 0; round < 6; round++) {
    const blob = newBlob()
    const { promise: released, resolve: release } = Promise.withResolvers<void>()
    const read = new RegExp(`^GET .*${blob}`)
    upstream.hold(read, released)
    const first = pull(open, blob)
    await until(() => upstream.seen(read).length === 1)
    const second = pull(closed, blob)
    await until(async () => (await closed.metric('layerd_flights')) > 0)
    release()
    await Promise.all([first, second])
    expect(upstream.seen(read)).toHaveLength(1)
  }
})
