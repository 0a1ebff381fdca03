import { connect, type Socket } from 'node:net'
import { noise } from '@chainsafe/libp2p-noise'
import { tcp } from '@libp2p/tcp'
import { yamux } from '@libp2p/yamux'
import { type Multiaddr, multiaddr } from '@multiformats/multiaddr'
import { createLibp2p } from 'libp2p'
import { afterEach, expect, onTestFinished, test } from 'vitest'
import { inboundPlaces, MAX_HANDSHAKES } from '../../daemon/swarm/inbound.ts'
import { MAX_HANDSHAKES as MAX_TLS_HANDSHAKES } from '../../daemon/swarm/transfer/constants.ts'
import { type TestNode, TestSwarm, transferPeers, until } from '../fixtures/swarm.ts'

const swarm = new TestSwarm()
afterEach(() => swarm.close())

/** Where hostile ones are; all of 127.0.0.0/8 is this machine. */
const elsewhere = '127.0.0.2'

const portOf = (text: string) => Number(text.match(/(\d+)$/)?.[1])

/** Connections that say nothing, opened again whenever they are closed. */
function holdSilent(port: number, count: number): void {
  const sockets = new Set<Socket>()
  let isOver = false
  const open = () => {
    if (isOver) return
    const socket = connect({ port, host: '127.0.0.1', localAddress: elsewhere })
    sockets.add(socket)
    socket.on('error', () => {})
    socket.once('close', () => {
      sockets.delete(socket)
      setTimeout(open, 100)
    })
  }
  for (let opened = 0; opened < count; opened++) open()
  onTestFinished(() => {
    isOver = true
    for (const socket of sockets) socket.destroy()
  })
}

async function meets(node: TestNode): Promise<TestNode> {
  const other = await swarm.node({ config: { seeds: [node.address()] } })
  await until(() => transferPeers(other) === 1 && transferPeers(node) === 1, 60_000)
  return other
}

test('connections that say nothing keep nobody from other addresses out', async () => {
  const node = await swarm.node()
  holdSilent(portOf(node.address()), 2 * MAX_HANDSHAKES)
  holdSilent(portOf(node.status().transfer), 2 * MAX_TLS_HANDSHAKES)
  const honest = await meets(node)
  const digest = node.content.add(Buffer.from('some blob'))
  const { size } = await honest.swarm.stat(node.peerId(), digest, AbortSignal.timeout(60_000))
  expect(size).toBe(9)
})

/** A libp2p node that does nothing but connect, again whenever it was cut off. */
async function stranger(address: Multiaddr): Promise<void> {
  const node = await createLibp2p({
    transports: [tcp({ dialOpts: { localAddress: elsewhere } as object })],
    connectionEncrypters: [noise()],
    streamMuxers: [yamux()],
    connectionManager: { reconnectRetries: 0 },
    connectionMonitor: { enabled: false },
    connectionGater: { denyDialMultiaddr: () => false },
  })
  const dial = () => void node.dial(address).catch(() => {})
  node.addEventListener('peer:disconnect', () => setTimeout(dial, 1_000))
  onTestFinished(() => node.stop())
  await node.dial(address)
}

test('PeerIds of one address keep nobody from other addresses out, and use what nobody else needs', async () => {
  const maxConnections = 20
  const most = inboundPlaces(maxConnections)
  const node = await swarm.node({ config: { maxConnections } })
  const address = multiaddr(node.address())
  for (let met = 0; met < most; met += 20) {
    await Promise.all(Array.from({ length: 20 }, () => stranger(address)))
  }
  await until(() => node.status().peers.length >= maxConnections)
  const honest = await meets(node)
  expect(transferPeers(honest)).toBe(1)
  expect(node.status().peers.length).toBeLessThanOrEqual(most)
})
