import { generateKeyPair } from '@libp2p/crypto/keys'
import { peerIdFromPrivateKey } from '@libp2p/peer-id'
import { pino } from 'pino'
import { afterEach, expect, test } from 'vitest'
import { Announcer } from '../../../../daemon/swarm/announce/announcer.ts'
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

let announcer: Announcer
afterEach(() => announcer.stop())

/** An announcer whose peers can't be reached; gives those that it tried. */
function start(shared: ReadonlySet<Digest>): Set<string> {
  const tried = new Set<string>()
  announcer = new Announcer({
    openStream: async (peer) => {
      tried.add(peer)
      throw new Error('no')
    },
    shared,
    log: pino({ level: 'silent' }),
  })
  announcer.start()
  for (const peer of peers) announcer.connected(peer)
  return tried
}

test('a fresh blob is told to the peers that a lookup asks, and no others', async () => {
  const tried = start(new Set())
  announcer.place(digest)
  await until(() => tried.size === PEERS_TO_ASK)
  await new Promise((resolve) => setTimeout(resolve, 50))
  expect([...tried].toSorted()).toEqual(nearest)
})

test('so is what was there before they connected', async () => {
  const tried = start(new Set([digest]))
  await until(() => tried.size === PEERS_TO_ASK)
  expect([...tried].toSorted()).toEqual(nearest)
  expect(announcer.queued).toBeGreaterThan(0)
  for (const peer of peers) announcer.disconnected(peer)
  expect(announcer.queued).toBe(0)
})

test('a blob that is taken back is told to all', async () => {
  const tried = start(new Set())
  announcer.withdraw(digest)
  await until(() => tried.size === peers.length)
})
