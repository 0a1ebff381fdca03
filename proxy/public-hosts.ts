import { BlockList, isIP, isIPv6 } from 'node:net'
import { parse } from 'tldts'

/**
 * Names that public DNS does not resolve though the list of public suffixes may have them (RFC 6761, 6762, 7686, 8375 and
 * 9476).
 */
const specialUse: ReadonlySet<string> = new Set([
  'alt',
  'arpa',
  'example',
  'internal',
  'invalid',
  'local',
  'localhost',
  'onion',
  'test',
])

/** `registry.example.com:5000` -> `registry.example.com`; brackets of an IPv6 address are left out. */
export function hostOfName(name: string): string {
  return name.replace(/:\d+$/, '').replace(/^\[|\]$/g, '')
}

/** Whether a host is a name that somebody has registered in public DNS, as opposed to an address or a name in a network. */
export function isPublicName(host: string): boolean {
  const { isIp, isIcann, domain } = parse(host, { allowPrivateDomains: false })
  return isIp === false && isIcann === true && domain !== null && !specialUse.has(host.slice(host.lastIndexOf('.') + 1))
}

/** IPv4 that is not globally reachable (https://www.iana.org/assignments/iana-ipv4-special-registry). */
const notPublic4: readonly (readonly [network: string, prefix: number])[] = [
  ['0.0.0.0', 8],
  ['10.0.0.0', 8],
  // Carrier-grade NAT.
  ['100.64.0.0', 10],
  ['127.0.0.0', 8],
  // Link-local; clouds have their metadata service in it.
  ['169.254.0.0', 16],
  ['172.16.0.0', 12],
  ['192.0.0.0', 24],
  ['192.0.2.0', 24],
  ['192.88.99.0', 24],
  ['192.168.0.0', 16],
  ['198.18.0.0', 15],
  ['198.51.100.0', 24],
  ['203.0.113.0', 24],
  // Multicast, what is reserved, and broadcast.
  ['224.0.0.0', 3],
]

/** Of the IPv6 that is handed out (2000::/3), what is not globally reachable, or may lead to any IPv4 address. */
const notPublic6: readonly (readonly [network: string, prefix: number])[] = [
  // Teredo, benchmarks, ORCHID and other protocols.
  ['2001::', 23],
  ['2001:db8::', 32],
  // 6to4.
  ['2002::', 16],
  ['3fff::', 20],
]

const refused = new BlockList()
for (const [network, prefix] of notPublic4) refused.addSubnet(network, prefix, 'ipv4')
for (const [network, prefix] of notPublic6) refused.addSubnet(network, prefix, 'ipv6')
const handedOut = new BlockList()
handedOut.addSubnet('2000::', 3, 'ipv6')

/**
 * Whether an IP address is one of the public internet. Anything else than unicast that was handed out is not: loopback,
 * unique local and link-local addresses, IPv4 within IPv6, multicast.
 */
export function isPublicAddress(address: string): boolean {
  const family = isIPv6(address) ? 'ipv6' : 'ipv4'
  if (isIP(address) === 0 || refused.check(address, family)) return false
  return family === 'ipv4' || handedOut.check(address, 'ipv6')
}
