import { createHash } from 'node:crypto'
import { generateKeyPair } from '@libp2p/crypto/keys'
import { peerIdFromPrivateKey } from '@libp2p/peer-id'
import { expect, test } from 'vitest'
import { ClaimBook } from '../../../../daemon/swarm/claim/book.ts'
import { ClaimClient } from '../../../../daemon/swarm/claim/client.ts'
import { COORDINATORS } from '../../../../daemon/swarm/coordination/constants.ts'
import { nearestPeers } from '../../../../daemon/swarm/find/nearest.ts'

const signal = new AbortController().signal

test('the coordinator is the nearest of all, though it is not connected', async () => {
  const ids = await Promise.all(
    Array.from({ length: 40 }, async () => peerIdFromPrivateKey(await generateKeyPair('Ed25519')).toString()),
  )
  const [self = '', ...others] = ids
  const asked: string[] = []
  const client = new ClaimClient({
    self,
    book: new ClaimBook(),
    peers: () => others.slice(0, 20),
    closest: { near: async () => others.slice(20) },
    openStream: async (peer) => {
      asked.push(peer)
      throw new Error('not there')
    },
  })
  await client.ask('key', { wish: 'nothing', held: 0 }, signal)
  const nearest = nearestPeers(ids, createHash('sha256').update('key').digest(), COORDINATORS)
  const untilSelf = nearest.includes(self) ? nearest.slice(0, nearest.indexOf(self)) : nearest
  expect(asked).toEqual(untilSelf)
})
