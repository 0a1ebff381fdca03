import { randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { generateKeyPair } from '@libp2p/crypto/keys'
import { peerIdFromPrivateKey } from '@libp2p/peer-id'
import { LevelDatastore } from 'datastore-level'
import { base32 } from 'multiformats/bases/base32'
import { base58btc } from 'multiformats/bases/base58'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { SwarmDatastore } from '../../../../daemon/swarm/datastore.ts'
import {
  MAX_RECORDS_READ,
  RECORD_LIFETIME_MS,
  RECOUNT_MS,
  RENEW_AFTER_MS,
} from '../../../../daemon/swarm/router/constants.ts'
import { RecordStore } from '../../../../daemon/swarm/router/record-store.ts'

const [self, a, b] = (await Promise.all(
  Array.from({ length: 3 }, async () => peerIdFromPrivateKey(await generateKeyPair('Ed25519')).toString()),
)) as [string, string, string]

const keys = (count: number) => Array.from({ length: count }, () => randomBytes(32))
const randomPeer = () => base58btc.baseEncode(Uint8Array.of(0, 0x24, 8, 1, 0x12, 0x20, ...randomBytes(32)))
async function* list<T>(...items: T[]): AsyncGenerator<T> {
  yield* items
}
const signal = new AbortController().signal

let folder: string
let datastore: LevelDatastore
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'layerd-records-'))
  datastore = new LevelDatastore(folder)
  await datastore.open()
})
afterEach(async () => {
  vi.useRealTimers()
  await datastore.close()
  await rm(folder, { recursive: true })
})

function open(bounds?: { ofPeer: number; ofAll: number }): RecordStore {
  return new RecordStore({ db: datastore.db, self, ...(bounds && { bounds }) })
}

/** Moves the clock, without stopping timers. */
function later(ms: number): void {
  const now = Date.now() + ms
  const since = performance.now() + ms
  vi.useFakeTimers({ toFake: ['Date', 'performance'], now })
  vi.spyOn(performance, 'now').mockReturnValue(since)
}

describe('records', () => {
  test('name who placed them, until each takes its own back', async () => {
    const store = open()
    const [one, two] = keys(2) as [Buffer, Buffer]
    expect(await store.place(a, [one, two])).toBe(2)
    expect(await store.place(b, [one])).toBe(1)
    expect([...(await store.providers(one))].sort()).toEqual([a, b].sort())
    expect(await store.providers(two)).toEqual([a])
    await store.withdraw(b, [one, two])
    expect([await store.providers(one), await store.providers(two)]).toEqual([[a], [a]])
  })

  test('expire, are written again when they are old, and not before', async () => {
    const store = open()
    const [key] = keys(1) as [Buffer]
    let writes = 0
    const batch = datastore.db.batch.bind(datastore.db) as (operations: unknown[]) => Promise<void>
    vi.spyOn(datastore.db, 'batch').mockImplementation(((operations: unknown[]) => {
      writes += operations.length
      return batch(operations)
    }) as never)
    await store.place(a, [key, key])
    expect(writes).toBe(1)
    later(RENEW_AFTER_MS - 60_000)
    await store.place(a, [key])
    expect(writes).toBe(1)
    later(120_000)
    await store.place(a, [key])
    expect(writes).toBe(2)
    later(RECORD_LIFETIME_MS - 60_000)
    expect(await store.providers(key)).toEqual([a])
    later(120_000)
    expect(await store.providers(key)).toEqual([])
  })

  test('of all who have a blob are read by and by, however many they are', async () => {
    const store = open()
    const [key] = keys(1) as [Buffer]
    const holders = Array.from({ length: 2 * MAX_RECORDS_READ }, () => randomPeer())
    for (const holder of holders) await store.place(holder, [key])
    const found = new Set<string>()
    for (let times = 0; times < 50; times++) {
      const some = await store.providers(key)
      expect(new Set(some).size).toBe(MAX_RECORDS_READ)
      for (const peer of some) found.add(peer)
    }
    expect(found).toEqual(new Set(holders))
  })

  test('of this node go, where their blobs are gone; those of others stay', async () => {
    const store = open()
    const all = keys(3)
    const [one, two, three] = all as [Buffer, Buffer, Buffer]
    await store.place(self, all)
    await store.place(a, all)
    await store.retain(list(two), signal)
    expect([await store.providers(one), await store.providers(three)]).toEqual([[a], [a]])
    expect([...(await store.providers(two))].sort()).toEqual([self, a].sort())
  })

  test('placed while stale ones are removed stay', async () => {
    const store = open()
    const [key] = keys(1) as [Buffer]
    await Promise.all([store.retain(list(), signal), store.place(self, [key])])
    expect(await store.providers(key)).toEqual([self])
  })
})

describe('the bounds', () => {
  test('hold for each peer and for all, not for this node, and not for what is there already', async () => {
    const store = open({ ofPeer: 3, ofAll: 5 })
    const first = keys(4)
    expect(await store.place(a, first)).toBe(3)
    expect(await store.place(a, first)).toBe(3)
    expect(await store.place(a, keys(1))).toBe(0)
    expect(await store.place(b, keys(3))).toBe(2)
    expect(await store.place(self, keys(10))).toBe(10)
  })

  test('have room again for what was taken back', async () => {
    const store = open({ ofPeer: 2, ofAll: 2 })
    const [one, two, three] = keys(3) as [Buffer, Buffer, Buffer]
    await store.place(a, [one, two])
    await store.withdraw(a, [one, three])
    expect(await store.place(a, [three])).toBe(1)
    expect(await store.place(a, [one])).toBe(0)
  })

  test('hold for what kad-dht writes by itself', async () => {
    await datastore.close()
    const own = new SwarmDatastore(folder)
    await own.open()
    datastore = own
    own.records = new RecordStore({ db: own.db, self, bounds: { ofPeer: 3, ofAll: 9 } })
    const write = async (peer: string) => {
      const name = `/dht/provider/${base32.baseEncode(randomBytes(34))}/${peer}`
      await own.put({ toString: () => name } as Parameters<typeof own.put>[0], new Uint8Array([1]))
    }
    for (let index = 0; index < 10; index++) await write(a)
    for (let index = 0; index < 10; index++) await write(self)
    const names = (await own.db.keys().all()).map((name) => name.slice(name.lastIndexOf('/') + 1))
    expect([names.filter((peer) => peer === a).length, names.filter((peer) => peer === self).length]).toEqual([3, 10])
  })

  test('give a peer that has few room from the one that has the most, until both have the same', async () => {
    const store = open({ ofPeer: 100, ofAll: 100 })
    const [ofA, ofB] = [keys(100), keys(80)]
    await store.place(a, ofA)
    expect(await store.place(b, ofB)).toBe(50)
    const named = await Promise.all([...ofA, ...ofB].map((key) => store.providers(key)))
    expect([named.flat().filter((peer) => peer === a).length, named.flat().length]).toEqual([50, 100])
    expect(await store.place(b, keys(10))).toBe(0)
  })

  test('hold over a restart', async () => {
    const first = keys(2)
    await open({ ofPeer: 2, ofAll: 9 }).place(a, first)
    const again = open({ ofPeer: 2, ofAll: 9 })
    expect(await again.place(a, keys(1))).toBe(0)
    expect(await again.place(b, keys(1))).toBe(1)
  })

  test('are counted anew after a time: kad-dht drops what has expired', async () => {
    const store = open({ ofPeer: 2, ofAll: 9 })
    await store.place(a, keys(2))
    for await (const { key } of datastore.query({})) await datastore.delete(key)
    expect(await store.place(a, keys(1))).toBe(0)
    later(RECOUNT_MS + 1000)
    expect(await store.place(a, keys(1))).toBe(1)
  })
})
