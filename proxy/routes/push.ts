import { OciError } from '../oci/errors.ts'
import type { RegistryContext } from './context.ts'

/** Who may push and delete: programs of this machine, everybody who reaches the port, or nobody. */
export type PushPolicy = 'loopback' | 'always' | 'never'

/** @throws {OciError} DENIED, where a request may not change anything */
export function assertMayPush({ req }: RegistryContext, policy: PushPolicy): void {
  if (policy === 'always' || (policy === 'loopback' && isLoopback(req.socket.remoteAddress))) return
  throw new OciError(
    'DENIED',
    policy === 'never'
      ? 'this node takes no pushes and no deletions (registry.push)'
      : 'only programs of its own machine may push to this node, or delete from it, unless registry.push is set to always',
  )
}

function isLoopback(address: string | undefined): boolean {
  return address !== undefined && /^(?:::ffff:)?127\.|^::1$/.test(address)
}

/** The body of a request as it arrives; where its reader stops, what is left is discarded, so that an answer gets through. */
export function bodyOf({ req }: RegistryContext): AsyncIterable<Uint8Array> {
  return req.iterator({ destroyOnReturn: false })
}

/** The `Content-Length` of a request; undefined where the client does not know it. */
export function lengthOf({ req }: RegistryContext): number | undefined {
  if (req.headers['transfer-encoding'] !== undefined) return undefined
  return Number(req.headers['content-length'] ?? 0)
}
