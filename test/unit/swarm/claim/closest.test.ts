import { createHash } from 'node:crypto'
import { generateKeyPair } from '@libp2p/crypto/keys'
import { peerIdFromPrivateKey } from '@libp2p/peer-id'
import { expect, test, vi } from 'vitest'
import { ClaimBook } from '../../../../daemon/swarm/claim/book.ts'
import { ClaimClient } from '../../../../daemon/swarm/claim/client.ts'
import { ClosestPeers } from '../../../../daemon/swarm/claim/closest.ts'
import { CLOSEST_MS, COORDINATORS } from '../../../../daemon/swarm/claim/constants.ts'
import { nearestPeers } from '../../../../daemon/swarm/find/nearest.ts'

const key = new Uint8Array(32)
const signal = new AbortController().signal

/** Peers near a key, of which the DHT names two, one of them banned. */
function near({ isLarge = true, after = Promise.resolve() } = {}) {
  const query = vi.fn(async function* () {
    await after
    yield* ['a', 'banned']
  })
  return { query, closest: new ClosestPeers({ isLarge: () => isLarge, admits: (peer) => peer !== 'banned', query }) }
}

test('a small swarm is not searched: all that are in it are connected', async () => {
  const { closest, query } = near({ isLarge: false })
  expect(await closest.near(key)).toEqual([])
  expect(query).not.toHaveBeenCalled()
})

test('a large one is searched once for each key, and names nobody who is banned', async () => {
  const { closest, query } = near()
  expect(await closest.near(key)).toEqual(['a'])
  expect(await closest.near(key)).toEqual(['a'])
  expect(query).toHaveBeenCalledTimes(1)
  await closest.near(new Uint8Array(32).fill(1))
  expect(query).toHaveBeenCalledTimes(2)
})

test('a search that takes long is not waited for, and is of use the next time', async () => {
  const { promise, resolve } = Promise.withResolvers<void>()
  const { closest, query } = near({ after: promise })
  const started = performance.now()
  expect(await closest.near(key)).toEqual([])
  expect(performance.now() - started).toBeLessThan(CLOSEST_MS * 3)
  resolve()
  expect(await closest.near(key)).toEqual(['a'])
  expect(query).toHaveBeenCalledTimes(1)
})

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
