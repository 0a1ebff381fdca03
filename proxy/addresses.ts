import { BlockList, isIP, isIPv6 } from 'node:net'
import { networkInterfaces } from 'node:os'

const loopback = new BlockList()
loopback.addSubnet('127.0.0.0', 8, 'ipv4')
loopback.addAddress('::1', 'ipv6')

/** A connection to one of these ends on this machine or on its own wire: clouds have their metadata service there. */
const nearby = new BlockList()
nearby.addSubnet('127.0.0.0', 8, 'ipv4')
nearby.addSubnet('169.254.0.0', 16, 'ipv4')
// The unspecified address leads to loopback.
nearby.addSubnet('0.0.0.0', 8, 'ipv4')
nearby.addAddress('::1', 'ipv6')
nearby.addAddress('::', 'ipv6')
nearby.addSubnet('fe80::', 10, 'ipv6')

/**
 * An IP address in the form in which two of them can be compared: without brackets and zone, IPv4 within IPv6 as IPv4.
 * @returns undefined for what is no address, such as a name
 */
export function plainAddress(text: string | undefined): string | undefined {
  const bare = (text ?? '').replace(/^\[|\]$/g, '').replace(/%.*$/, '')
  if (isIP(bare) === 0) return undefined
  if (!isIPv6(bare)) return bare
  const canonical = new URL(`http://[${bare}]`).hostname.slice(1, -1)
  const within = /^::ffff:([0-9a-f]{1,4}):([0-9a-f]{1,4})$/.exec(canonical)
  if (within === null) return canonical
  const bytes = [within[1], within[2]].flatMap((part) => [Number(`0x${part}`) >> 8, Number(`0x${part}`) & 255])
  return bytes.join('.')
}

/** @param address as {@link plainAddress} gives it */
export function isLoopback(address: string): boolean {
  return loopback.check(address, isIPv6(address) ? 'ipv6' : 'ipv4')
}

/**
 * The client that an address stands for. In IPv6 that is its network: a host has as many addresses as it likes (RFC 8981).
 * @param address as {@link plainAddress} gives it
 */
export function clientOf(address: string): string {
  if (!address.includes(':')) return address
  const [head = '', tail = ''] = address.split('::')
  const parts = head.split(':').filter((part) => part !== '')
  const zeros = address.includes('::') ? 8 - parts.length - tail.split(':').filter((part) => part !== '').length : 0
  return [...parts, ...Array<string>(zeros).fill('0'), ...tail.split(':')].slice(0, 4).join(':')
}

/** Whether an address is loopback, link-local or unspecified. @param address as {@link plainAddress} gives it */
export function isNearby(address: string): boolean {
  return nearby.check(address, isIPv6(address) ? 'ipv6' : 'ipv4')
}

/** Whether one of this machine's interfaces has the address. @param address as {@link plainAddress} gives it */
export function isOfThisMachine(address: string): boolean {
  if (isLoopback(address)) return true
  const all = Object.values(networkInterfaces()).flatMap((found) => found ?? [])
  return all.some((found) => plainAddress(found.address) === address)
}

/** `localhost`, and names below it: nobody can make them lead elsewhere (RFC 6761, 6.3). */
export function isLocalhost(name: string): boolean {
  return name === 'localhost' || name.endsWith('.localhost')
}
