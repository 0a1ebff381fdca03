import { createHash } from 'node:crypto'
import { generateKeyPair } from '@libp2p/crypto/keys'
import { peerIdFromPrivateKey, peerIdFromString } from '@libp2p/peer-id'
import { expect, test } from 'vitest'
import { nearestPeers } from '../../../../daemon/swarm/find/nearest.ts'

const peers = await Promise.all(
  Array.from({ length: 8 }, async () => peerIdFromPrivateKey(await generateKeyPair('Ed25519')).toString()),
)
const key = Buffer.from('1220'.padEnd(68, '7'), 'hex')

const hash = (bytes: Uint8Array) => BigInt(`0x${createHash('sha256').update(bytes).digest('hex')}`)
const distance = (peer: string) => hash(peerIdFromString(peer).toMultihash().bytes) ^ hash(key)

test('the nearest peers are those at the smallest XOR distance', () => {
  const sorted = peers.toSorted((a, b) => (distance(a) < distance(b) ? -1 : 1))
  expect(nearestPeers(peers, key, 3)).toEqual(sorted.slice(0, 3))
})

test('where there are no more peers than asked for, all are', () => {
  expect(nearestPeers(peers, key, 8).toSorted()).toEqual(peers.toSorted())
  expect(nearestPeers([], key, 8)).toEqual([])
})
