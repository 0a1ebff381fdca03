import { z } from 'zod'
import { isDigest } from '../../../proxy/oci/digest.ts'
import type { Turn, Want } from '../plan/messages.ts'
import { MAX_NUMBER, MAX_PEER_ID_CHARACTERS } from './limits.ts'
import { WireError } from './reader.ts'

/** Wants or turns in one message: with all peers that turns name it stays below 256 KiB, the most that a peer takes. */
export const MAX_CLAIMS_PER_MESSAGE = 128

/** Peers that one turn names: more than a node seeks, and few enough that a message with 128 turns is no burden. */
const MAX_MEMBERS = 64

/** What nodes and coordinators tell each other, as a plain object that is sent as CBOR. */
export type Claim =
  | { readonly kind: 'wants'; readonly wants: readonly Want[] }
  | { readonly kind: 'turns'; readonly turns: readonly Turn[] }

const blob = z.string().refine(isDigest, 'expected a digest')
const peerId = z.string().min(1).max(MAX_PEER_ID_CHARACTERS)
const count = z.number().int().min(0).max(MAX_NUMBER)

/** A list whose length is looked at before anything in it. */
const listOf = <T extends z.ZodType>(item: T, max: number) => z.array(z.unknown()).max(max).pipe(z.array(item))

const want = z.object({
  blob,
  brought: count,
  wish: z.enum(['part', 'hungry', 'unable', 'done', 'soon', 'gone']),
  sought: count,
  far: count.optional(),
})

const role = z.enum(['head', 'racer', 'none'])

const turn = z.object({
  blob,
  role,
  far: role.optional(),
  head: peerId.optional(),
  brought: count,
  members: listOf(peerId, MAX_MEMBERS),
})

const claim = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('wants'), wants: listOf(want, MAX_CLAIMS_PER_MESSAGE) }),
  z.object({ kind: z.literal('turns'), turns: listOf(turn, MAX_CLAIMS_PER_MESSAGE) }),
])

/** @param wants at most {@link MAX_CLAIMS_PER_MESSAGE} @throws {RangeError} for more */
export function encodeWants(wants: readonly Want[]): object {
  assertFit(wants.length)
  return { kind: 'wants', wants }
}

/**
 * Names the first {@link MAX_MEMBERS} of a turn's members.
 * @param turns at most {@link MAX_CLAIMS_PER_MESSAGE}
 * @throws {RangeError} for more
 */
export function encodeTurns(turns: readonly Turn[]): object {
  assertFit(turns.length)
  return { kind: 'turns', turns: turns.map(encodeTurn) }
}

/** A head that is not there is left out. */
function encodeTurn({ head, members, ...rest }: Turn): object {
  const told = { ...rest, members: members.slice(0, MAX_MEMBERS) }
  return head === undefined ? told : { ...told, head }
}

function assertFit(length: number): void {
  if (length > MAX_CLAIMS_PER_MESSAGE)
    throw new RangeError(`a message takes ${MAX_CLAIMS_PER_MESSAGE} claims, not ${length}`)
}

/** @throws {WireError} where it is malformed or goes beyond a bound */
export function parseClaim(value: unknown): Claim {
  const result = claim.safeParse(value)
  if (!result.success) throw malformed(result.error)
  const { data } = result
  if (data.kind === 'wants') return data
  return { kind: 'turns', turns: data.turns.map(({ head, ...rest }) => ({ ...rest, head })) }
}

function malformed(error: z.ZodError): WireError {
  const [issue] = error.issues
  const place = issue?.path.join('.') || 'message'
  return new WireError(`a message about claims is malformed at its ${place}: ${issue?.message ?? error.message}`)
}
