import { z } from 'zod'
import { type Digest, isDigest } from '../../../proxy/oci/digest.ts'
import { Bitfield } from '../../verify/bitfield.ts'
import { quarterCount as chunkCount } from '../../verify/quarter.ts'
import type { BlobFacts } from '../ports.ts'
import { MAX_REPOSITORIES } from '../transfer/constants.ts'
import { MAX_SHARED_BLOB_BYTES } from './constants.ts'

const id = z.number().int().nonnegative()
const bytes = z.custom<Uint8Array>((value) => value instanceof Uint8Array, 'expected bytes')
const maxChunks = chunkCount(MAX_SHARED_BLOB_BYTES)
// how many they are is looked at before each of them is
const chunks = z
  .array(z.unknown())
  .max(maxChunks)
  .pipe(
    z.array(
      z
        .number()
        .int()
        .min(0)
        .max(maxChunks - 1),
    ),
  )
const digest = z.string().refine(isDigest) as unknown as z.ZodType<Digest>

const askedSchema = z.discriminatedUnion('type', [
  z.object({
    type: z.literal('watch'),
    id,
    digest,
    /** Whether the asker holds the blob, and only wants to know what the other one still lacks. */
    back: z.boolean().optional(),
  }),
  z.object({ type: z.literal('leave'), id }),
])

/** What a peer that wants a blob sends. */
export type HaveQuestion = z.output<typeof askedSchema>

const toldSchema = z.discriminatedUnion('type', [
  z.object({
    type: z.literal('blob'),
    id,
    size: z.number().int().nonnegative().max(MAX_SHARED_BLOB_BYTES),
    mediaType: z.string().max(255).optional(),
    public: z.boolean(),
    repositories: z.array(z.string().max(512)).max(MAX_REPOSITORIES),
    /** Whether all chunks are held, though the peer offers them one after the other. */
    isComplete: z.boolean(),
    /** The chunks that may be asked for at once. */
    held: bytes,
    /** The checkpoints known, from the first on. */
    states: bytes,
  }),
  z.object({
    type: z.literal('got'),
    id,
    chunks,
    states: bytes,
    /** Requests for chunks that the sender has under way itself, of all blobs: who has few is offered chunks before others. */
    requests: z.number().int().nonnegative().optional(),
  }),
  z.object({ type: z.literal('none'), id }),
])

/** What a peer that is asked answers: `blob` first, `got` for what is new since, `none` where it
 * can't give the blob, or takes all back before it says something else with another `blob`. */
export type HaveAnswer = z.output<typeof toldSchema>

/** @throws {Error} where it is malformed */
export function parseQuestion(value: unknown): HaveQuestion {
  return askedSchema.parse(value)
}

/** @throws {Error} where it is malformed */
export function parseAnswer(value: unknown): HaveAnswer {
  return toldSchema.parse(value)
}

/** @throws {Error} where sizes don't match */
export function factsOf(answer: Extract<HaveAnswer, { type: 'blob' }>): { facts: BlobFacts; held: Bitfield } {
  const { size, mediaType, repositories, held } = answer
  const access = answer.public ? 'public' : 'private'
  return { facts: { size, mediaType, access, repositories }, held: Bitfield.decode(held, chunkCount(size)) }
}
