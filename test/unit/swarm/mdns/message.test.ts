import { encode } from 'dns-packet'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { MAX_MESSAGE_BYTES, SERVICE } from '../../../../daemon/swarm/mdns/constants.ts'
import {
  decodeMessage,
  encodeAnswer,
  encodeQuery,
  type Message,
  readAddresses,
} from '../../../../daemon/swarm/mdns/message.ts'

const peer = '12D3KooWGC6TvWhfapngX6wvJHMYvKpDMXPb3ZnCZ6dMoaMtimQ5'
const other = '12D3KooWJRSrypvnpHgc6ZAgyCni4KcSmbV7uGRaMw5LgMKT18fq'

/** Peers and addresses of an answer as text. */
function read(bytes: Uint8Array): Record<string, string[]> | undefined {
  const message = decodeMessage(Buffer.from(bytes)) as Extract<Message, { kind: 'answer' }> | undefined
  if (message === undefined) return undefined
  return Object.fromEntries([...message.peers].map(([id, addresses]) => [id, readAddresses(addresses).map(String)]))
}

describe('messages of multicast DNS', () => {
  it('ask', () => {
    expect(decodeMessage(Buffer.from(encodeQuery()))).toEqual({ kind: 'query' })
  })

  it('answer with the addresses of a peer, of both families', () => {
    const bytes = encodeAnswer('name', [`/ip4/51.77.0.1/tcp/4050/p2p/${peer}`, `/ip6/fd00::1/tcp/4050/p2p/${peer}`])
    expect(read(bytes)).toEqual({ [peer]: ['/ip4/51.77.0.1/tcp/4050', '/ip6/fd00::1/tcp/4050'] })
  })

  it('keep to a packet, and leave out what comes last', () => {
    const addresses = Array.from({ length: 200 }, (_, index) => `/ip4/10.0.0.${index}/tcp/4050/p2p/${peer}`)
    const bytes = encodeAnswer('name', addresses)
    expect(bytes.length).toBeLessThanOrEqual(MAX_MESSAGE_BYTES)
    const told = read(bytes)?.[peer] ?? []
    expect(told.length).toBeGreaterThan(4)
    expect(told).toEqual(addresses.slice(0, told.length).map((address) => address.replace(/\/p2p\/.*/, '')))
  })

  it('are read as @libp2p/mdns writes them, with what can not be read left out', () => {
    const name = `${'x'.repeat(63)}.${SERVICE}`
    const texts = [
      `dnsaddr=/ip4/10.0.0.1/tcp/4050/p2p/${peer}`,
      `dnsaddr=/ip4/10.0.0.2/tcp/4050/p2p/${other}`,
      'dnsaddr=/ip4/10.0.0.3/tcp/4050',
      'dnsaddr=/later/10.0.0.4',
      `dnsaddr=/later/10.0.0.4/p2p/${peer}`,
      `dnsaddr=/p2p/${peer}`,
      'something=else',
    ]
    const answers = [
      { name: SERVICE, type: 'PTR', class: 'IN', ttl: 120, data: name } as const,
      ...texts.map((data) => ({ name, type: 'TXT', class: 'IN', ttl: 120, data }) as const),
    ]
    expect(read(encode({ type: 'response', answers }))).toEqual({
      [peer]: ['/ip4/10.0.0.1/tcp/4050'],
      [other]: ['/ip4/10.0.0.2/tcp/4050'],
    })
  })

  it('of other services are none', () => {
    expect(
      decodeMessage(encode({ type: 'query', questions: [{ name: '_ipp._tcp.local', type: 'PTR' }] })),
    ).toBeUndefined()
    const answers = [{ name: '_ipp._tcp.local', type: 'PTR', data: 'printer._ipp._tcp.local' } as const]
    expect(decodeMessage(encode({ type: 'response', answers }))).toBeUndefined()
  })

  it('may be anything: they are read, or an error is thrown', () => {
    const answer = Buffer.from(encodeAnswer('name', [`/ip4/10.0.0.1/tcp/4050/p2p/${peer}`]))
    const broken = fc.tuple(fc.nat(answer.length - 1), fc.nat(255)).map(([at, byte]) => {
      const bytes = Buffer.from(answer)
      bytes[at] = byte
      return bytes
    })
    fc.assert(
      fc.property(
        fc.oneof(
          fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes)),
          broken,
        ),
        (bytes) => {
          try {
            const message = decodeMessage(bytes)
            return (
              message === undefined ||
              message.kind === 'query' ||
              [...message.peers.values()].every((texts) => Array.isArray(readAddresses(texts)))
            )
          } catch (error) {
            return error instanceof Error
          }
        },
      ),
    )
  })
})
