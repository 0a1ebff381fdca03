import { BlockList, isIP } from 'node:net'
import { interfaceAddresses } from './discovery/interfaces.ts'

/**
 * How far an IP address reaches:
 * - `machine`: it leads to this machine itself
 * - `link`: it means another host on each link (RFC 3927, RFC 4007)
 * - `none`: it is no address of a host: unspecified, multicast, broadcast, reserved (RFC 6890)
 * - `wide`: all others
 */
export type Scope = 'machine' | 'link' | 'none' | 'wide'

const fixed: readonly (readonly [Scope, BlockList])[] = [
  [
    'machine',
    listOf([
      ['127.0.0.0', 8, 'ipv4'],
      ['::1', 128, 'ipv6'],
    ]),
  ],
  [
    'link',
    listOf([
      ['169.254.0.0', 16, 'ipv4'],
      ['fe80::', 10, 'ipv6'],
    ]),
  ],
  [
    'none',
    listOf([
      ['0.0.0.0', 8, 'ipv4'],
      // Multicast, what is reserved, and broadcast.
      ['224.0.0.0', 3, 'ipv4'],
      ['::', 128, 'ipv6'],
      ['ff00::', 8, 'ipv6'],
    ]),
  ],
]

function listOf(networks: readonly (readonly [string, number, 'ipv4' | 'ipv6'])[]): BlockList {
  const list = new BlockList()
  for (const network of networks) list.addSubnet(...network)
  return list
}

/**
 * The scope of an IP address; an IPv4 address may be written as one of IPv6, as sockets of both families do. What is no IP address
 * has the scope `none`.
 * @param own addresses of this machine
 */
export function scopeOf(
  host: string,
  own: Iterable<string> = interfaceAddresses().map(({ address }) => address),
): Scope {
  const [written = ''] = host.split('%')
  const mapped = /^::ffff:(?=\d+\.)/i
  const address = written.replace(mapped, '')
  const family = isIP(address)
  if (family === 0) return 'none'
  const found = fixed.find(([, list]) => list.check(address, family === 6 ? 'ipv6' : 'ipv4'))
  if (found !== undefined) return found[0]
  const same = new BlockList()
  for (const one of own)
    if (isIP(one) === family) same.addAddress(one.split('%')[0] ?? '', family === 6 ? 'ipv6' : 'ipv4')
  return same.check(address, family === 6 ? 'ipv6' : 'ipv4') ? 'machine' : 'wide'
}
