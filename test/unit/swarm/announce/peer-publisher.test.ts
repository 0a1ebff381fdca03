import { generateKeyPair } from '@libp2p/crypto/keys'
import { peerIdFromPrivateKey } from '@libp2p/peer-id'
import { pino } from 'pino'
import { afterEach, expect, test } from 'vitest'
import { PeerPublisher } from '../../../../daemon/swarm/announce/peer-publisher.ts'
import { PEERS_TO_ASK } from '../../../../daemon/swarm/find/constants.ts'
import { nearestPeers } from '../../../../daemon/swarm/find/nearest.ts'
import { hashOf, multihashOf } from '../../../../daemon/swarm/router/cid.ts'
import { type Digest, digestOf } from '../../../../proxy/oci/digest.ts'
import { until } from '../../../fixtures/swarm.ts'

const peers = await Promise.all(
  Array.from({ length: PEERS_TO_ASK + 5 }, async () =>
    peerIdFromPrivateKey(await generateKeyPair('Ed25519')).toString(),
  ),
)
const digest = digestOf(Buffer.from('x'))
const nearest = nearestPeers(peers, multihashOf(hashOf(digest)), PEERS_TO_ASK).toSorted()

let publisher: PeerPublisher
afterEach(() => publisher.stop())

/** A publisher whose peers can't be reached; gives those that it tried. */
function start(shared: ReadonlySet<Digest>): Set<string> {
  const tried = new Set<string>()
  publisher = new PeerPublisher({
    openStream: async (peer) => {
      tried.add(peer)
      throw new Error('no')
    },
    shared,
    isLarge: () => false,
    log: pino({ level: 'silent' }),
  })
  publisher.start()
  for (const peer of peers) publisher.connected(peer)
  return tried
}

test('a fresh blob is told to the peers that a lookup asks, and no others', async () => {
  const tried = start(new Set())
  publisher.place(digest)
  await until(() => tried.size === PEERS_TO_ASK)
  await new Promise((resolve) => setTimeout(resolve, 50))
  expect([...tried].toSorted()).toEqual(nearest)
})

test('so is what was there before they connected', async () => {
  const tried = start(new Set([digest]))
  await until(() => tried.size === PEERS_TO_ASK)
  expect([...tried].toSorted()).toEqual(nearest)
  expect(publisher.queued).toBeGreaterThan(0)
  for (const peer of peers) publisher.disconnected(peer)
  expect(publisher.queued).toBe(0)
})

test('a blob that is taken back is told to all', async () => {
  const tried = start(new Set())
  publisher.withdraw(digest)
  await until(() => tried.size === peers.length)
})
