import { join } from 'node:path'
import { generateKeyPair } from '@libp2p/crypto/keys'
import { pino } from 'pino'
import { onTestFinished, test } from 'vitest'
import { configSchema } from '../../config/schema.ts'
import { SwarmDatastore } from '../../daemon/swarm/datastore.ts'
import { closestOnDht } from '../../daemon/swarm/dht.ts'
import { createNode, type Node, startNode } from '../../daemon/swarm/node.ts'
import { until } from '../fixtures/node.ts'
import { tempDir } from '../fixtures/temp-dir.ts'

const listen = { host: '127.0.0.1', port: 0 }

/** A libp2p node without our discovery, which would connect all of them. */
async function bareNode(): Promise<Node> {
  const datastore = new SwarmDatastore(join(await tempDir(), 'dht'))
  await datastore.open()
  const node = await createNode({
    config: configSchema.parse({ swarm: { mdns: false, listen: '127.0.0.1:0' } }).swarm,
    privateKey: await generateKeyPair('Ed25519'),
    datastore,
    swarmKey: undefined,
    gater: {},
    log: pino({ level: 'silent' }),
  })
  await startNode(node, listen)
  onTestFinished(async () => {
    await node.stop()
    await datastore.close()
  })
  return node
}

test('the DHT names peers near a key that are not connected', async () => {
  const nodes = [await bareNode(), await bareNode(), await bareNode()]
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
