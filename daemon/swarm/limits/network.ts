import { isIPv4, isIPv6 } from 'node:net'

/** 64 bits name a network of IPv6 (RFC 4291, 2.5.1). A machine takes any address in it that it likes. */
const NETWORK_GROUPS = 4

/**
 * Where an address comes from, from the widest to the narrowest: the network that one machine may have all of, and the address. For
 * IPv4 both are the address. So is the network of a link-local IPv6 address: all machines of a LAN are in the same one.
 */
export function originOf(address: string): readonly [network: string, address: string] {
  const plain = address.replace(/^::ffff:(?=\d+\.)/i, '').toLowerCase()
  const [text = ''] = plain.split('%')
  if (isIPv4(plain) || !isIPv6(text) || /^fe[89ab]/.test(text)) return [plain, plain]
  return [`${groupsOf(text).slice(0, NETWORK_GROUPS).join(':')}::/64`, plain]
}

/** The eight groups of an IPv6 address, without leading zeros. */
function groupsOf(address: string): readonly string[] {
  const [head = '', tail] = address.replace(/\d+\.\d+\.\d+\.\d+$/, '0:0').split('::')
  const split = (text: string) => (text === '' ? [] : text.split(':').map((group) => group.replace(/^0+(?=.)/, '')))
  const [first, last] = [split(head), split(tail ?? '')]
  return [...first, ...Array<string>(8 - first.length - last.length).fill('0'), ...last]
}
