import { pino } from 'pino'
import { afterEach, expect, test } from 'vitest'
import { Advertiser } from '../../../../daemon/swarm/router/advertiser.ts'
import type { ProviderRecords } from '../../../../daemon/swarm/router/records.ts'
import { type Digest, digestOf } from '../../../../proxy/oci/digest.ts'
import { until } from '../../../fixtures/swarm.ts'

const digests = Array.from({ length: 20 }, (_, i) => digestOf(Buffer.from([i])))
const [first, second] = digests as [Digest, Digest]

let advertiser: Advertiser | undefined
afterEach(() => advertiser?.stop())

/** Records in memory; `provide` can be made slow or fail. */
function start(held: readonly Digest[] = [], provide: (digest: Digest) => Promise<number> = async () => 1) {
  const calls: string[] = []
  const state = { alone: false }
  const records: Pick<ProviderRecords, 'provide' | 'remove' | 'retain'> = {
    provide: async (digest, signal) => {
      calls.push(`provide ${digest}`)
      const reached = await provide(digest)
      signal.throwIfAborted()
      return reached
    },
    remove: async (digest) => void calls.push(`remove ${digest}`),
    retain: async () => void calls.push('retain'),
  }
  async function* list() {
    yield* held
  }
  advertiser = new Advertiser({
    records: records as ProviderRecords,
    held: list,
    isAlone: () => state.alone,
    log: pino({ level: 'silent' }),
  })
  advertiser.start()
  return { advertiser, calls, state }
}

test('what is held is announced after stale records are gone, and again when the node stops being alone', async () => {
  const { advertiser, calls, state } = start([first, second])
  await until(() => advertiser.provided === 2)
  expect(calls).toEqual(['retain', `provide ${first}`, `provide ${second}`])
  advertiser.joined()
  state.alone = true
  advertiser.advertise(first, true)
  await until(() => calls.length === 4)
  expect(advertiser.queued).toBeLessThanOrEqual(1)
})

test('an announcement that reached nobody, or failed, is repeated', async () => {
  let attempts = 0
  const { advertiser } = start([], async () => {
    attempts++
    if (attempts === 1) throw new Error('no')
    return attempts - 2
  })
  advertiser.advertise(first, true)
  await until(() => advertiser.provided === 1)
  expect(attempts).toBe(3)
})

test('fresh blobs overtake the others, and a slow one does not hold them up', async () => {
  const slow = Promise.withResolvers<number>()
  const { advertiser, calls } = start(digests.slice(10), (digest) =>
    digest === first ? slow.promise : new Promise((resolve) => setTimeout(resolve, 5, 1)),
  )
  for (const digest of digests.slice(0, 10)) advertiser.advertise(digest, true)
  await until(() => advertiser.provided >= 9)
  expect(calls.slice(0, 11).filter((call) => digests.slice(10).some((digest) => call.includes(digest)))).toHaveLength(0)
  slow.resolve(1)
  await until(() => advertiser.provided >= 10)
})

test('a blob that is withdrawn while it is announced has no record afterwards', async () => {
  const slow = Promise.withResolvers<number>()
  const { advertiser, calls } = start([], () => slow.promise)
  advertiser.advertise(first, true)
  await until(() => calls.includes(`provide ${first}`))
  const withdrawn = advertiser.withdraw(first)
  slow.resolve(1)
  await withdrawn
  expect(calls.at(-1)).toBe(`remove ${first}`)
  expect(advertiser).toMatchObject({ provided: 0, queued: 0 })
})

test('withdrawing is bounded', async () => {
  const stuck = Promise.withResolvers<number>()
  const { advertiser, calls } = start([], () => stuck.promise)
  advertiser.advertise(first, true)
  await until(() => calls.includes(`provide ${first}`))
  const started = performance.now()
  await advertiser.withdraw(first)
  expect(performance.now() - started).toBeLessThan(1000)
  stuck.resolve(1)
})
