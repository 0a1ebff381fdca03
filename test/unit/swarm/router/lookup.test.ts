import { expect, it } from 'vitest'
import { findProviders } from '../../../../daemon/swarm/router/lookup.ts'
import { digestOf } from '../../../../proxy/oci/digest.ts'

/** What is found where this node has records of `a` and `gone`, a connected peer of `b`, and those near the key of `far` and `a`. */
async function found({ isLarge, isStuck = false }: { isLarge: boolean; isStuck?: boolean }): Promise<string[]> {
  const options = {
    node: { getPeers: () => ['a'] },
    records: { local: async () => ['gone', 'a'] },
    routing: { isLarge, router: { find: async () => (isStuck ? await new Promise(() => {}) : ['far', 'a']) } },
    find: { ask: async () => ['b'] },
    known: {
      list: () => [{ peerId: '12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN' }],
      get: (peer: string) => (['a', 'b'].includes(peer) ? {} : undefined),
    },
    reputation: { isAbsent: () => false, hasFailed: () => false },
    admits: () => true,
    log: { debug: () => {} },
  } as unknown as Parameters<typeof findProviders>[0]
  const peers: string[] = []
  for await (const peer of findProviders(options, digestOf(Buffer.from('x')), AbortSignal.timeout(100)))
    peers.push(peer)
  return peers
}

it('asks connected peers, and names who is not connected last', async () => {
  expect(await found({ isLarge: false })).toEqual(['a', 'b', 'gone'])
})

it('asks those near the key in a large swarm, connected or not', async () => {
  expect(await found({ isLarge: true })).toEqual(['a', 'gone', 'far'])
})

it('names who is not connected also where there is no time left', async () => {
  expect(await found({ isLarge: true, isStuck: true })).toEqual(['a', 'gone'])
})
