import { z } from 'zod'
import { type Digest, isDigest, parseDigest } from '../../../proxy/oci/digest.ts'
import { isRegistryName, isTag, parseRepositoryName } from '../../../proxy/oci/name.ts'
import type { TagConfirmation } from '../ports.ts'
import { MAX_URL_BYTES } from './constants.ts'

/** What a peer asks for. */
export type TransferRequest =
  | { readonly kind: 'blob'; readonly digest: Digest }
  | { readonly kind: 'tag'; readonly reference: string }

export function blobPath(digest: Digest): string {
  return `/blobs/${digest}`
}

export function tagPath(reference: string): string {
  return `/tags/${encodeURIComponent(reference)}`
}

/** Reads a request path; undefined where it is none of ours. */
export function parsePath(url: string): TransferRequest | undefined {
  if (url.length > MAX_URL_BYTES) return undefined
  const [, kind, name, ...rest] = url.split('/')
  if (name === undefined || rest.length > 0) return undefined
  if (kind === 'blobs') return isDigest(name) ? { kind: 'blob', digest: name } : undefined
  if (kind !== 'tags') return undefined
  try {
    return { kind: 'tag', reference: parseTagReference(decodeURIComponent(name)) }
  } catch {
    return undefined
  }
}

/** `registry/repository:tag`. */
function parseTagReference(text: string): string {
  const slash = text.indexOf('/')
  const colon = text.lastIndexOf(':')
  if (slash === -1) throw new Error('no registry')
  parseRepositoryName(text.slice(slash + 1, colon))
  if (isRegistryName(text.slice(0, slash)) && isTag(text.slice(colon + 1))) return text
  throw new Error('not registry/repository:tag')
}

const confirmationSchema = z.object({ digest: z.string(), ageMs: z.number().int().nonnegative() })

/** Tells how old a confirmation is rather than when it was: the clocks of two nodes are not the same. */
export function encodeConfirmation({ digest, confirmedAt }: TagConfirmation, now: number): string {
  return JSON.stringify({ digest, ageMs: Math.max(0, now - confirmedAt) })
}

/**
 * Reads a tag answer of a peer.
 * @param askedAt when it was asked for, by this node's clock: a slow answer makes a confirmation older, never younger
 * @throws {Error} where it is malformed
 */
export function decodeConfirmation(text: string, askedAt: number): TagConfirmation {
  const { digest, ageMs } = confirmationSchema.parse(JSON.parse(text))
  return { digest: parseDigest(digest), confirmedAt: Math.max(0, askedAt - ageMs) }
}
