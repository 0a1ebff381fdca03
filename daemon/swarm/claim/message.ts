import { z } from 'zod'
import type { ClaimAnswer, ClaimQuestion } from './book.ts'
import { MAX_KEY_CHARACTERS, MAX_NAMED } from './constants.ts'

const id = z.number().int().nonnegative()
const peerId = z.string().min(1).max(128)

const questionSchema = z.object({
  id,
  key: z.string().min(1).max(MAX_KEY_CHARACTERS),
  wish: z.enum(['nothing', 'if-nobody', 'starved', 'claim', 'done']),
  held: z.number().int().nonnegative(),
})

const answerSchema = z.object({
  id,
  role: z.enum(['holder', 'racer', 'none']),
  holder: peerId.optional(),
  brought: z.number().int().nonnegative().optional(),
  members: z.array(peerId).max(MAX_NAMED),
})

/** A question about one key. */
export type ClaimRequest = ClaimQuestion & { readonly id: number; readonly key: string }

export type ClaimResponse = ClaimAnswer & { readonly id: number }

/** @throws {Error} where it is malformed */
export function parseRequest(value: unknown): ClaimRequest {
  return questionSchema.parse(value)
}

/** @throws {Error} where it is malformed */
export function parseResponse(value: unknown): ClaimResponse {
  const { holder, ...rest } = answerSchema.parse(value)
  return { ...rest, holder }
}

/** What goes over the wire: fields that are not there are left out. */
export function encodeResponse({ holder, ...rest }: ClaimResponse): object {
  return holder === undefined ? rest : { ...rest, holder }
}
