import { randomBytes } from 'node:crypto'
import { generateKeyPair } from '@libp2p/crypto/keys'
import { peerIdFromPrivateKey } from '@libp2p/peer-id'
import { expect, test } from 'vitest'
import { KeySpace } from '../../../../daemon/swarm/find/key-space.ts'
import { nearestPeers } from '../../../../daemon/swarm/find/nearest.ts'

const peers = await Promise.all(
  Array.from({ length: 12 }, async () => peerIdFromPrivateKey(await generateKeyPair('Ed25519')).toString()),
)
const keys = Array.from({ length: 50 }, () => Buffer.concat([Buffer.from('1220', 'hex'), randomBytes(32)]))

test('names the same peers as a lookup asks', () => {
  const space = new KeySpace()
  for (const peer of peers) space.add(peer)
  for (const key of keys) {
    const nearest = nearestPeers(peers, key, 5)
    expect(space.nearest(key, 5)).toEqual(nearest)
    expect(peers.filter((peer) => space.isNear(peer, key, 5)).sort()).toEqual([...nearest].sort())
  }
})

test('has all peers near to everything where there are few, and those that left to nothing', () => {
  const space = new KeySpace()
  for (const peer of peers) space.add(peer)
  const [left, other] = peers as [string, string]
  space.delete(left)
  const [key] = keys as [Buffer]
  expect(space.nearest(key, 11)).toEqual(nearestPeers(peers.slice(1), key, 11))
  expect([space.isNear(left, key, 11), space.isNear(other, key, 11)]).toEqual([false, true])
})
