import { z } from 'zod'
import { type Digest, isDigest } from '../../../proxy/oci/digest.ts'
import { isTag, parseRepositoryName } from '../../../proxy/oci/name.ts'
import { isArtifactType } from '../../../proxy/oci/pushed-manifest.ts'
import type { PeerId, SignedName } from '../ports.ts'
import { SIGNATURE_BYTES } from '../signing.ts'
import { MAX_ASKED, MAX_NAMES, MAX_SUMS, SUM_BYTES } from './constants.ts'

/**
 * Records that the sender passes on; sums of those that it would pass on; or a question for all that somebody has published, which is
 * asked where sums differ.
 */
export type NamesMessage =
  | { readonly names: readonly SignedName[] }
  | { readonly sums: readonly NameSum[] }
  | { readonly ask: readonly PeerId[] }

/** What a node knows of a publisher, in {@link SUM_BYTES} bytes. */
export type NameSum = readonly [publisher: PeerId, sum: Uint8Array]

const peerId = z.string().regex(/^(?:12D3KooW|Qm|16Uiu2)[1-9A-HJ-NP-Za-km-z]{1,100}$/)
const digest = z.string().refine((text) => isDigest(text)) as unknown as z.ZodType<Digest>
const type = z.string().refine(isArtifactType)
const whole = z.number().int().min(0).max(Number.MAX_SAFE_INTEGER)

const repository = z.string().refine((text) => {
  try {
    return parseRepositoryName(text) === text
  } catch {
    return false
  }
})

/** A record as it goes over a stream: a list, as the names of fields would be half of it. */
const tuple = z.tuple([
  peerId,
  repository,
  z.string().refine((text) => isTag(text) || isDigest(text)),
  digest.nullable(),
  type.nullable(),
  whole,
  digest.nullable(),
  type.nullable(),
  whole,
  whole,
  z.instanceof(Uint8Array).refine(({ length }) => length === SIGNATURE_BYTES),
])

const sum = z.tuple([peerId, z.instanceof(Uint8Array).refine(({ length }) => length === SUM_BYTES)])

const message = z.union([
  z.strictObject({ names: z.array(tuple).max(MAX_NAMES) }),
  z.strictObject({ sums: z.array(sum).max(MAX_SUMS) }),
  z.strictObject({ ask: z.array(peerId).max(MAX_ASKED) }),
])

export function encodeMessage(message: NamesMessage): object {
  return 'names' in message ? { names: message.names.map(encodeName) } : message
}

/** Of records, in whatever order: their signatures, which are as good as random, put on top of each other. */
export function sumOf(names: Iterable<SignedName>): Uint8Array {
  const sum = new Uint8Array(SUM_BYTES)
  for (const { signature } of names)
    for (const index of sum.keys()) sum[index] = (sum[index] ?? 0) ^ (signature[index] ?? 0)
  return sum
}

function encodeName(name: SignedName): readonly unknown[] {
  const { publisher, repository, reference, digest, mediaType, size, subject, artifactType, sequence, at } = name
  const facts = [digest ?? null, mediaType ?? null, size, subject ?? null, artifactType ?? null] as const
  return [publisher, repository, reference, ...facts, sequence, at, name.signature]
}

/** @throws {Error} where it is none of the protocol */
export function decodeMessage(value: unknown): NamesMessage {
  const read = message.parse(value)
  if ('names' in read) return { names: read.names.map(decodeName) }
  // What was read is cut from a buffer that is used again.
  return 'sums' in read ? { sums: read.sums.map(([publisher, sum]) => [publisher, Uint8Array.from(sum)]) } : read
}

function decodeName(fields: z.output<typeof tuple>): SignedName {
  const [publisher, repository, reference, digest, mediaType, size, subject, artifactType, sequence, at, signature] =
    fields
  return {
    publisher,
    repository,
    reference,
    digest: digest ?? undefined,
    mediaType: mediaType ?? undefined,
    size,
    subject: subject ?? undefined,
    artifactType: artifactType ?? undefined,
    sequence,
    at,
    // What was read is cut from a buffer that is used again.
    signature: Uint8Array.from(signature),
  }
}

/** About how many bytes a record has on the way. */
export function sizeOf({ repository, reference, mediaType = '', artifactType = '', subject }: SignedName): number {
  const fixed = 240
  return fixed + repository.length + reference.length + mediaType.length + artifactType.length + (subject?.length ?? 0)
}
