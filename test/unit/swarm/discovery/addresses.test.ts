import { multiaddr } from '@multiformats/multiaddr'
import { describe, expect, test } from 'vitest'
import { parseSeed, placeOf, resolveSeed } from '../../../../daemon/swarm/discovery/addresses.ts'

const id = '12D3KooWNrhJD6R7xsaQUfcxLfySgxTDudK7G4jfqZV5UiVQKpQ4'

describe('a seed', () => {
  test.each([
    ['10.0.0.1:4050', '/ip4/10.0.0.1/tcp/4050'],
    ['[fd00::1]:4050', '/ip6/fd00::1/tcp/4050'],
    ['/ip4/10.0.0.1/tcp/4050', '/ip4/10.0.0.1/tcp/4050'],
    [`/ip6/fd00::1/tcp/4050/p2p/${id}`, `/ip6/fd00::1/tcp/4050/p2p/${id}`],
  ])('%s is dialled as it is', async (text, address) => {
    expect((await resolveSeed(parseSeed(text))).map(String)).toEqual([address])
  })

  test.each([
    ['layerd.example:4050', { host: 'layerd.example', family: 0, port: 4050, suffix: '' }],
    ['/dns/layerd/tcp/1', { host: 'layerd', family: 0, port: 1, suffix: '' }],
    ['/dns4/layerd.example/tcp/4050', { host: 'layerd.example', family: 4, port: 4050, suffix: '' }],
    [`/dns6/a.example/tcp/4050/p2p/${id}`, { host: 'a.example', family: 6, port: 4050, suffix: `/p2p/${id}` }],
  ])('%s is a name to resolve', (text, seed) => {
    expect(parseSeed(text)).toMatchObject({ kind: 'name', text, ...seed })
  })

  test('that is a name has all its addresses', async () => {
    const found = await resolveSeed(parseSeed(`/dns4/localhost/tcp/4050/p2p/${id}`))
    expect(found.map(String)).toEqual([`/ip4/127.0.0.1/tcp/4050/p2p/${id}`])
  })

  test.each([
    '',
    'layerd.example',
    'layerd.example:0',
    'layerd.example:65536',
    'http://layerd.example:4050',
    '/ip4/10.0.0.1',
    '/ip4/10.0.0.1/udp/4050',
    '/ip4/300.0.0.1/tcp/4050',
    '/dns4/layerd.example/udp/4050',
  ])('"%s" is refused', (text) => {
    expect(() => parseSeed(text)).toThrow(`swarm.seeds: "${text}" is neither host:port nor a multiaddr`)
  })
})

test('addresses are compared without the PeerId', () => {
  const place = '/ip4/10.0.0.1/tcp/4050'
  expect(placeOf(multiaddr(place))).toBe(place)
  expect(placeOf(multiaddr(`${place}/p2p/${id}`))).toBe(place)
})
