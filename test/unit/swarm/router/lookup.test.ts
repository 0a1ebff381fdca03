import { setTimeout as delay } from 'node:timers/promises'
import { expect, it } from 'vitest'
import { findProviders } from '../../../../daemon/swarm/router/lookup.ts'
import { digestOf } from '../../../../proxy/oci/digest.ts'

it('names who is not connected last, also where there is no time left', async () => {
  const findInDht = async function* (_: unknown, { signal }: { signal: AbortSignal }) {
    for (const id of ['gone', 'connected']) yield { name: 'PROVIDER', providers: [{ id }] }
    await delay(60_000, undefined, { signal })
  }
  const options = {
    node: { getPeers: () => ['connected'], services: { dht: { findProviders: findInDht } } },
    records: { local: async () => [] },
    known: { list: () => [], get: (peer: string) => (peer === 'connected' ? {} : undefined) },
    reputation: { isAbsent: () => false, hasFailed: () => false },
    admits: () => true,
    log: { debug: () => {} },
  } as unknown as Parameters<typeof findProviders>[0]
  const found: string[] = []
  for await (const peer of findProviders(options, digestOf(Buffer.from('x')), AbortSignal.timeout(100)))
    found.push(peer)
  expect(found).toEqual(['connected', 'gone'])
})
