import type { IncomingMessage } from 'node:http'
import type { Config } from '../config/schema.ts'
import { isLoopback, plainAddress } from './addresses.ts'

/** Whom the node lends its own credentials and client certificates. */
type Policy = Config['registry']['lendCredentials']

/** What proxies say of those for whom they ask (RFC 7239; RFC 9110, 7.6.3; and what was in use before). */
const proxyHeaders = ['forwarded', 'via', 'x-forwarded-for', 'x-real-ip'] as const

/**
 * Whether the node's own credentials may be used for a client that sends none. The connection decides: no header can make a
 * client of the network one of this machine, but a proxy on this machine says that it asks for somebody else.
 */
export function mayBorrow(policy: Policy, { socket, headers }: IncomingMessage): boolean {
  if (policy !== 'loopback') return policy === 'all'
  const address = plainAddress(socket.remoteAddress)
  return address !== undefined && isLoopback(address) && proxyHeaders.every((name) => headers[name] === undefined)
}
