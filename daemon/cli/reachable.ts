import type { ListenAddress } from '../../config/schema.ts'
import { formatAddress } from '../../config/units.ts'

/** Where a listener is reached from the same machine, as `host:port`. */
export function reachable({ host, port }: ListenAddress): string {
  const local = host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? '::1' : host
  return formatAddress({ host: local, port })
}
