import { pino } from 'pino'
import { expect, test, vi } from 'vitest'
import { RoutedPublisher } from '../../../../daemon/swarm/routing/publisher.ts'
import { digestOf } from '../../../../proxy/oci/digest.ts'

test('nothing stays queued once the swarm is small: then each peer is told of all by itself', async () => {
  let isLarge = true
  const [held, gone] = [digestOf(Buffer.from('held')), digestOf(Buffer.from('gone'))]
  const announce = vi.fn(async () => {
    throw new Error('nobody is reached')
  })
  const publisher = new RoutedPublisher({
    router: { announce },
    shared: new Set([held]),
    isLarge: () => isLarge,
    lossesPerMinute: () => 0,
    log: pino({ level: 'silent' }),
  })
  publisher.add(held, true)
  publisher.withdraw(gone)
  publisher.start()
  await vi.waitFor(() => expect(announce).toHaveBeenCalled(), 20_000)
  expect(publisher.queued).toBeGreaterThan(0)
  isLarge = false
  publisher.refresh()
  await vi.waitFor(() => expect(publisher.queued).toBe(0), 20_000)
  await publisher.stop()
})
