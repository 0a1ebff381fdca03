import { pino } from 'pino'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { Advertiser } from '../../../../daemon/swarm/router/advertiser.ts'
import { MAX_WRITTEN } from '../../../../daemon/swarm/router/constants.ts'
import { type Digest, digestOf } from '../../../../proxy/oci/digest.ts'
import { until } from '../../../fixtures/swarm.ts'

const digests = Array.from({ length: 20 }, (_, i) => digestOf(Buffer.from([i])))
const [first, second] = digests as [Digest, Digest]

const log = pino({ level: 'silent' })
let advertiser: Advertiser
let calls: string[]
let shared: Set<Digest>
beforeEach(() => {
  calls = []
  shared = new Set()
})
afterEach(() => advertiser.stop())

/** Records in memory, and peers that note what they are told; `keep` can be made slow or fail. */
function start(held: readonly Digest[] = [], keep: (digests: readonly Digest[]) => Promise<void> = async () => {}) {
  const note = (name: string) => (what?: string) => void calls.push(what === undefined ? name : `${name} ${what}`)
  advertiser = new Advertiser({
    records: {
      keep: async (kept) => {
        for (const digest of kept) calls.push(`keep ${digest}`)
        await keep(kept)
      },
      remove: async (digest) => void calls.push(`remove ${digest}`),
      retain: async () => void calls.push('retain'),
    },
    shared,
    peers: {
      start: () => {},
      stop: async () => {},
      connected: note('connected'),
      disconnected: note('disconnected'),
      place: note('place'),
      withdraw: note('withdraw'),
      refresh: note('refresh'),
      queued: 0,
    },
    routed: {
      start: () => {},
      stop: async () => {},
      add: () => {},
      withdraw: () => {},
      queued: 0,
    },
    held: async function* () {
      yield* held
    },
    log,
  })
  advertiser.start()
}

test('what is held is recorded after stale records are gone, and peers that connect can be told of it', async () => {
  start([first, second])
  await until(() => advertiser.provided === 2)
  expect(calls).toEqual(['retain', `keep ${first}`, `keep ${second}`])
  expect([...shared]).toEqual([first, second])
  advertiser.connected('a')
  advertiser.disconnected('a')
  expect(calls.slice(3)).toEqual(['connected a', 'disconnected a'])
})

test('a fresh blob is told to peers at once, also while its own record can not be written', async () => {
  let attempts = 0
  start([], async () => {
    if (attempts++ === 0) throw new Error('no')
  })
  advertiser.advertise(first, true)
  expect([calls.includes(`place ${first}`), shared.has(first)]).toEqual([true, true])
  await until(() => advertiser.provided === 1)
  expect([attempts, advertiser.queued]).toEqual([2, 0])
})

test('records of fresh blobs are written before others', async () => {
  const held = Array.from({ length: 2 * MAX_WRITTEN }, (_, i) => digestOf(Buffer.from(`held ${i}`)))
  const gate = Promise.withResolvers<void>()
  start(held, () => gate.promise)
  await until(() => calls.length === 1 + MAX_WRITTEN)
  advertiser.advertise(first, true)
  gate.resolve()
  await until(() => advertiser.provided === held.length + 1)
  expect(calls.filter((call) => call.startsWith('keep')).indexOf(`keep ${first}`)).toBe(MAX_WRITTEN)
})

test('a blob that is withdrawn while its record is written has none afterwards', async () => {
  const slow = Promise.withResolvers<void>()
  start([], () => slow.promise)
  advertiser.advertise(first, true)
  await until(() => calls.includes(`keep ${first}`))
  const withdrawn = advertiser.withdraw(first)
  expect(calls).toContain(`withdraw ${first}`)
  expect(calls).not.toContain(`remove ${first}`)
  slow.resolve()
  await withdrawn
  expect(calls.at(-1)).toBe(`remove ${first}`)
  expect([advertiser.provided, shared.size]).toEqual([0, 0])
})

test('a blob that is withdrawn before its turn in a round gets no record', async () => {
  const held = [...Array.from({ length: MAX_WRITTEN }, (_, i) => digestOf(Buffer.from(`held ${i}`))), first, second]
  const gate = Promise.withResolvers<void>()
  start(held, () => gate.promise)
  await until(() => calls.length === 1 + MAX_WRITTEN)
  await advertiser.withdraw(first)
  gate.resolve()
  await until(() => calls.includes(`keep ${second}`))
  expect(calls).not.toContain(`keep ${first}`)
})

test('withdrawing is bounded', async () => {
  const stuck = Promise.withResolvers<void>()
  start([], () => stuck.promise)
  advertiser.advertise(first, true)
  await until(() => calls.includes(`keep ${first}`))
  // What it would wait for comes only after that.
  await advertiser.withdraw(first)
  stuck.resolve()
})
