import { setTimeout as delay } from 'node:timers/promises'
import { noise } from '@chainsafe/libp2p-noise'
import { tcp } from '@libp2p/tcp'
import { yamux } from '@libp2p/yamux'
import { multiaddr } from '@multiformats/multiaddr'
import { createLibp2p } from 'libp2p'
import { flood, floods } from '../hostile/floods.ts'

// node test/bench/flooder.ts MULTIADDR PEERS: each peer, at an address of its own, sends what it can, and comes back when it is cut off.

const [target = '', peers = '8'] = process.argv.slice(2)

/** Between two attempts of a peer to connect, in ms. */
const RETRY_MS = 50

async function attack(number: number): Promise<void> {
  const node = await createLibp2p({
    transports: [tcp({ dialOpts: { localAddress: `127.0.2.${number + 1}` } as object })],
    connectionEncrypters: [noise()],
    streamMuxers: [yamux()],
    connectionManager: { reconnectRetries: 0 },
    connectionMonitor: { enabled: false },
    connectionGater: { denyDialMultiaddr: () => false },
  })
  for (;;) {
    const kind = floods[number % floods.length]
    if (kind === undefined) return
    const connection = await node.dial(multiaddr(target)).catch(() => undefined)
    if (connection !== undefined) await flood(connection, kind)
    await delay(RETRY_MS)
  }
}

await Promise.all(Array.from({ length: Number(peers) }, (_, number) => attack(number)))
