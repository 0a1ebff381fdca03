import { test } from 'vitest'
import { closestOnDht } from '../../daemon/swarm/dht.ts'
import type { Node } from '../../daemon/swarm/node.ts'
import { libp2pNode } from '../fixtures/libp2p-node.ts'
import { until } from '../fixtures/node.ts'

test('the DHT names peers near a key that are not connected', async () => {
  const nodes = [await libp2pNode(), await libp2pNode(), await libp2pNode()]
  const [first, middle, last] = nodes as [Node, Node, Node]
  await first.dial(middle.getMultiaddrs())
  await last.dial(middle.getMultiaddrs())
  const key = new Uint8Array(32).fill(7)
  const found = async () => {
    const peers = new Set<string>()
    for await (const peer of closestOnDht(first.services.dht, key, AbortSignal.timeout(5000))) peers.add(peer)
    return peers.has(last.peerId.toString())
  }
  // A peer is in the routing table a moment after it has told its protocols.
  await until(found)
})
