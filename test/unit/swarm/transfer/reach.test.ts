import { createSecureContext } from 'node:tls'
import { pino } from 'pino'
import { expect, onTestFinished, test, vi } from 'vitest'
import type { KnownPeer } from '../../../../daemon/swarm/known-peers.ts'
import type { Place } from '../../../../daemon/swarm/transfer/places.ts'
import { Reach } from '../../../../daemon/swarm/transfer/reach.ts'
import { until } from '../../../fixtures/swarm.ts'

test('places of a peer that has left while they were tried are not tried again', async () => {
  const finds: AbortSignal[] = []
  const { promise: place, resolve } = Promise.withResolvers<Place>()
  const onMoved = vi.fn(() => undefined)
  const reach = new Reach({
    context: createSecureContext(),
    connectMs: 500,
    onChange: () => {},
    find: (_, signal) => {
      finds.push(signal)
      return place
    },
    onMoved,
    log: pino({ level: 'silent' }),
  })
  onTestFinished(() => reach.stop())
  // Nobody listens at port 1 of this machine.
  const announced = [{ host: '127.0.0.1', port: 1 }]
  const peer: KnownPeer = { peerId: 'peer', host: '127.0.0.1', port: 1, fingerprint: '0', announced }
  reach.met(peer)
  await until(() => finds.length === 1)
  reach.left('peer')
  expect(finds[0]?.aborted).toBe(true)
  resolve(peer)
  await vi.waitFor(() => expect(reach.isOpen('peer')).toBe(false), 30_000)
  // Longer than the pause after which it would be looked at again.
  await new Promise((done) => setTimeout(done, 3_500))
  expect([finds.length, onMoved.mock.calls]).toEqual([1, []])
})
