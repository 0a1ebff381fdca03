import { multiaddr } from '@multiformats/multiaddr'
import { describe, expect, it } from 'vitest'
import { DialOrder } from '../../../../daemon/swarm/discovery/address-order.ts'

const interfaces = [
  { name: 'lo', address: '127.0.0.1', cidr: '127.0.0.1/8', family: 4, internal: true },
  { name: 'lo', address: '::1', cidr: '::1/128', family: 6, internal: true },
  { name: 'docker0', address: '172.17.0.1', cidr: '172.17.0.1/16', family: 4, internal: false },
  { name: 'eth0', address: '10.0.0.1', cidr: '10.0.0.1/24', family: 4, internal: false },
  { name: 'eth0', address: 'fd00::1', cidr: 'fd00::1/64', family: 6, internal: false },
] as const

function order(...texts: string[]): string[] {
  const addresses = texts.map((text) => ({ multiaddr: multiaddr(text), isCertified: false }))
  return addresses.sort(new DialOrder(() => interfaces).compare).map((address) => address.multiaddr.toString())
}

describe('the order in which addresses are dialled', () => {
  it('begins with the networks of this machine, and ends with its own addresses', () => {
    const near = ['/ip4/10.0.0.7/tcp/4050', '/ip6/fd00::7/tcp/4050']
    const far = ['/ip4/10.0.1.7/tcp/4050', '/ip4/51.77.0.1/tcp/4050', '/dns4/node.example/tcp/4050']
    const own = ['/ip4/127.0.0.1/tcp/4050', '/ip4/172.17.0.1/tcp/4050']
    const ordered = order(...own, ...far, ...near)
    expect(new Set(ordered.slice(0, 2))).toEqual(new Set(near))
    expect(new Set(ordered.slice(2, 5))).toEqual(new Set(far))
    expect(new Set(ordered.slice(5))).toEqual(new Set(own))
  })

  it('is another one each time for addresses of which nothing is known', () => {
    const far = Array.from({ length: 8 }, (_, index) => `/ip4/51.77.0.${index}/tcp/4050`)
    const first = new Set(Array.from({ length: 200 }, () => order(...far)[0]))
    expect(first.size).toBeGreaterThan(1)
  })
})
