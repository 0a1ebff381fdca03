import { z } from 'zod'
import { type Digest, isDigest, parseDigest } from '../../../proxy/oci/digest.ts'
import { parseMediaType } from '../../../proxy/oci/media-type.ts'
import { isListName, isRegistryName, isTag, type listReference, parseRepositoryName } from '../../../proxy/oci/name.ts'
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

/** `registry/repository:tag`, or in the place of the tag what {@link listReference} names. */
function parseTagReference(text: string): string {
  const slash = text.indexOf('/')
  const colon = text.lastIndexOf(':')
  if (slash === -1) throw new Error('no registry')
  parseRepositoryName(text.slice(slash + 1, colon))
  const tag = text.slice(colon + 1)
  if (isRegistryName(text.slice(0, slash)) && (isTag(tag) || isListName(tag))) return text
  throw new Error('not registry/repository:tag')
}

/** Bytes of an Ed25519 signature, in base64. */
const signatureText = z.string().regex(/^[A-Za-z0-9+/]{86}==$/)

/** Longest text of a PeerId that is read; those of Ed25519 keys have 52 characters. */
const maxPeerIdCharacters = 128

const confirmationSchema = z.object({
  digest: z.string(),
  mediaType: z.string().optional(),
  at: z.number().int().nonnegative(),
  ageMs: z.number().int().nonnegative(),
  signer: z.string().max(maxPeerIdCharacters),
  signature: signatureText,
})

/**
 * What a node answers who is asked for a tag. Beside the time that was signed it tells how long ago that was: the clocks of two
 * nodes are not the same.
 */
export function encodeConfirmation(confirmation: TagConfirmation, now: number): string {
  const { digest, mediaType, at, confirmedAt, signer, signature } = confirmation
  const ageMs = Math.max(0, now - confirmedAt)
  return JSON.stringify({ digest, mediaType, at, ageMs, signer, signature: Buffer.from(signature).toString('base64') })
}

/**
 * Reads a tag answer of a peer. The signature is not looked at.
 * @param askedAt when it was asked for, by this node's clock: a slow answer makes a confirmation older, never younger
 * @throws {Error} where it is malformed
 */
export function decodeConfirmation(text: string, askedAt: number): TagConfirmation {
  const { digest, mediaType, ageMs, signature, ...signed } = confirmationSchema.parse(JSON.parse(text))
  return {
    ...signed,
    digest: parseDigest(digest),
    // It is signed as it was told: one that is changed by reading it fits no signature.
    mediaType: parseMediaType(mediaType),
    confirmedAt: Math.max(0, askedAt - ageMs),
    signature: Buffer.from(signature, 'base64'),
  }
}
