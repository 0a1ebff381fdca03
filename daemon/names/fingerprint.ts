import { createHash } from 'node:crypto'
import type { PeerId } from '../swarm/ports.ts'

/** Groups of four digits: 66 bits, so that nobody finds a second key with the fingerprint of a given one. */
const groups = 5

/** What two people compare across a table, such as `4821-0937-5512-8406-3370`: of SHA-256 of the PeerId. */
export function fingerprintOf(peer: PeerId): string {
  const hash = createHash('sha256').update(`layerd fingerprint\0${peer}`).digest()
  const digits = (hash.readBigUInt64BE() * 2n ** 64n + hash.readBigUInt64BE(8)) % 10n ** BigInt(4 * groups)
  return (
    digits
      .toString()
      .padStart(4 * groups, '0')
      .match(/.{4}/g)
      ?.join('-') ?? ''
  )
}
