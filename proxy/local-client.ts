import type { IncomingMessage } from 'node:http'
import { isLoopback, plainAddress } from './addresses.ts'

/** What proxies say of those for whom they ask (RFC 7239; RFC 9110, 7.6.3; and what was in use before). */
const proxyHeaders = ['forwarded', 'via', 'x-forwarded-for', 'x-real-ip'] as const

/**
 * Whether a program of this machine makes a request for itself. The connection decides: no header can make a client of the network
 * one of this machine, but a proxy on this machine says that it asks for somebody else.
 */
export function isLocalClient({ socket, headers }: IncomingMessage): boolean {
  const address = plainAddress(socket.remoteAddress)
  return address !== undefined && isLoopback(address) && proxyHeaders.every((name) => headers[name] === undefined)
}
