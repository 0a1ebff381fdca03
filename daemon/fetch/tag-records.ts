import type { ResolvedTag } from '../../proxy/ports.ts'
import type { TagRecord } from '../store/record.ts'
import type { Identity } from './access.ts'

/** Where the record of one identity is kept. No peer can ask for it: it is no reference. */
export function ownReference(reference: string, identity: Identity): string {
  return `${reference} ${identity}`
}

/** The answer by a record that counts as it is. */
export function fresh({ digest, mediaType, size }: TagRecord): ResolvedTag {
  return { digest, mediaType, size }
}
