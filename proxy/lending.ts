import type { IncomingMessage } from 'node:http'
import type { Config } from '../config/schema.ts'
import { isLocalClient } from './local-client.ts'

/** Whom the node lends its own credentials and client certificates. */
type Policy = Config['registry']['lendCredentials']

/** Whether the node's own credentials may be used for a client that sends none. */
export function mayBorrow(policy: Policy, request: IncomingMessage): boolean {
  return policy === 'all' || (policy === 'loopback' && isLocalClient(request))
}
