import { pino } from 'pino'
import { afterEach, expect, test } from 'vitest'
import { DhtPublisher } from '../../../../daemon/swarm/router/dht-publisher.ts'
import { type Digest, digestOf } from '../../../../proxy/oci/digest.ts'
import { until } from '../../../fixtures/swarm.ts'

const digests = Array.from({ length: 20 }, (_, i) => digestOf(Buffer.from([i])))
const [first] = digests as [Digest]

let publisher: DhtPublisher
afterEach(() => publisher.stop())

/** Notes what is provided; `provide` can be made slow or fail. */
function start(provide: (digest: Digest) => Promise<number> = async () => 1): string[] {
  const calls: string[] = []
  publisher = new DhtPublisher({
    records: {
      provide: async (digest, signal) => {
        calls.push(digest)
        const reached = await provide(digest)
        signal.throwIfAborted()
        return reached
      },
    },
    log: pino({ level: 'silent' }),
  })
  publisher.start()
  return calls
}

async function* list(...held: Digest[]): AsyncGenerator<Digest> {
  yield* held
}

test('an announcement that reached nobody, or failed, is repeated', async () => {
  let attempts = 0
  start(async () => {
    attempts++
    if (attempts === 1) throw new Error('no')
    return attempts - 2
  })
  publisher.add(first, true)
  await until(() => attempts === 3 && publisher.queued === 0)
})

test('fresh blobs overtake a round, and a slow one does not hold them up', async () => {
  const slow = Promise.withResolvers<number>()
  const calls = start((digest) =>
    digest === first ? slow.promise : new Promise((resolve) => setTimeout(resolve, 5, 1)),
  )
  publisher.round(list(...digests.slice(10)))
  for (const digest of digests.slice(0, 10)) publisher.add(digest, true)
  await until(() => publisher.queued === 1)
  expect(calls.slice(0, 11).filter((call) => digests.slice(10).some((digest) => call === digest)).length).toBeLessThan(
    2,
  )
  slow.resolve(1)
  await until(() => calls.length === 20 && publisher.queued === 0)
})

test('cancelling waits until nothing is written any more', async () => {
  const slow = Promise.withResolvers<number>()
  const calls = start(() => slow.promise)
  publisher.add(first, true)
  await until(() => calls.length === 1)
  let isCancelled = false
  const cancelled = publisher.cancel(first).then(() => {
    isCancelled = true
  })
  await new Promise((resolve) => setTimeout(resolve, 20))
  expect(isCancelled).toBe(false)
  slow.resolve(1)
  await cancelled
  expect([calls.length, publisher.queued]).toEqual([1, 0])
})
