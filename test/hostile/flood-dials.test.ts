import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import { generateKeyPair } from '@libp2p/crypto/keys'
import { peerIdFromPrivateKey } from '@libp2p/peer-id'
import { multiaddr } from '@multiformats/multiaddr'
import { afterEach, expect, onTestFinished, test } from 'vitest'
import { HOST_DIALS } from '../../daemon/swarm/limits/dials.ts'
import { libp2pNode } from '../fixtures/libp2p-node.ts'
import { TestSwarm } from '../fixtures/swarm.ts'

const swarm = new TestSwarm()
afterEach(() => swarm.close())

/** Somebody who has nothing to do with it, at some ports. */
async function innocent(ports: number) {
  let connections = 0
  const addresses = await Promise.all(
    Array.from({ length: ports }, async () => {
      const server = createServer((socket) => {
        connections++
        // It speaks another protocol, and does not wait for more.
        socket.on('error', () => {}).end()
      }).listen(0, '127.0.0.3')
      await once(server, 'listening')
      onTestFinished(() => void server.close())
      return multiaddr(`/ip4/127.0.0.3/tcp/${(server.address() as AddressInfo).port}`)
    }),
  )
  return { addresses, count: () => connections }
}

const somebody = async () => peerIdFromPrivateKey(await generateKeyPair('Ed25519'))

test.each([1, 20])(
  'an address of somebody else that peers name is dialled a few times, with %i ports',
  async (ports) => {
    const { addresses, count } = await innocent(ports)
    const node = await libp2pNode()
    const names = await Promise.all(Array.from({ length: 60 }, somebody))
    await Promise.all(
      names.map(async (peer, index) => {
        const address = addresses[index % ports]
        if (address === undefined) return
        await node.peerStore.merge(peer, { multiaddrs: [address] })
        await node.dial(peer, { signal: AbortSignal.timeout(10_000) }).catch(() => {})
      }),
    )
    expect(count()).toBeGreaterThan(0)
    expect(count()).toBeLessThanOrEqual(HOST_DIALS)
    const honest = await swarm.node()
    await node.dial(multiaddr(honest.address()))
  },
)
