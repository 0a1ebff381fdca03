import { z } from 'zod'
import { MAX_MESSAGE_BYTES } from '../coordination/constants.ts'
import { KEY_BYTES } from '../find/constants.ts'
import type { PeerId } from '../ports.ts'
import { SIGNATURE_BYTES } from '../signing.ts'
import {
  MAX_ADDRESS_CHARACTERS,
  MAX_ADDRESSES,
  MAX_HOPS,
  MAX_KEYS,
  MAX_PEER_ID_CHARACTERS,
  MAX_PEERS,
  MAX_PROVIDERS,
} from './constants.ts'

const peerId = z.string().min(1).max(MAX_PEER_ID_CHARACTERS)
const bytes = (max: number, unit = 1) =>
  z.custom<Uint8Array>((value) => value instanceof Uint8Array && value.length <= max && value.length % unit === 0)
const fixed = (count: number) => z.custom<Uint8Array>((value) => value instanceof Uint8Array && value.length === count)
/** The first 32 bits of a place in the key space. */
const position = z
  .number()
  .int()
  .min(0)
  .max(2 ** 32 - 1)
const number = z.number().int().min(0).max(Number.MAX_SAFE_INTEGER)

/** Where a request goes: to the node nearest to `to`, or to `peer`, which is there. */
const to = { to: position }
const signed = { origin: peerId, number, signature: fixed(SIGNATURE_BYTES) }

const ask = z.discriminatedUnion('kind', [
  /** Which nodes are nearest to a position, without one of them. */
  z.object({
    kind: z.literal('nearest'),
    ...to,
    count: z.number().int().min(1).max(MAX_PEERS),
    without: peerId.optional(),
  }),
  /** At which addresses a peer is. */
  z.object({ kind: z.literal('where'), ...to, peer: peerId }),
  /** Who has announced a blob. */
  z.object({ kind: z.literal('find'), ...to, key: fixed(KEY_BYTES) }),
  /** A node has blobs, or has them no more. Keys follow one another. */
  z.object({
    kind: z.literal('announce'),
    ...to,
    ...signed,
    action: z.enum(['place', 'withdraw']),
    keys: bytes(MAX_KEYS * KEY_BYTES, KEY_BYTES),
    /** For a copy: how many of the keys it is about, from the first on. */
    first: z.number().int().min(1).max(MAX_KEYS).optional(),
  }),
  /** Something about claims, in CBOR. */
  z.object({ kind: z.literal('tell'), ...to, peer: peerId, ...signed, payload: bytes(MAX_MESSAGE_BYTES) }),
])

const found = z.object({ peer: peerId, addresses: z.array(z.string().max(MAX_ADDRESS_CHARACTERS)).max(MAX_ADDRESSES) })

const answer = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('peers'), peers: z.array(found).max(MAX_PEERS) }),
  z.object({ kind: z.literal('providers'), providers: z.array(peerId).max(MAX_PROVIDERS) }),
  z.object({ kind: z.literal('taken'), taken: number }),
  /**
   * - `unreachable`: the peer is not there, or the way to it is broken
   * - `busy`: a node on the way has too much to do
   * - `old`: the number is not above `last`, the last one that was heard of the origin
   * - `refused`: the receiver does not speak with the origin
   */
  z.object({
    kind: z.literal('no'),
    reason: z.enum(['unreachable', 'busy', 'old', 'refused']),
    last: number.optional(),
  }),
])

const message = z.union([
  /** `hops`: how often it may still be passed on; with none, it is for the receiver. */
  z.object({ id: number, hops: z.number().int().min(0).max(MAX_HOPS), ask }),
  z.object({ id: number, answer }),
  /** The sender ends the connection for lack of room. */
  z.object({ full: z.literal(true) }),
  /** Whether the sender finds the swarm larger than its connections. */
  z.object({ large: z.boolean() }),
])

export type Ask = z.infer<typeof ask>
export type Answer = z.infer<typeof answer>
export type Message = z.infer<typeof message>

/** A peer, and where it can be dialled. */
export interface Found {
  readonly peer: PeerId
  readonly addresses: readonly string[]
}

/** What of a claim or an announcement is signed, beside its content. */
export type SignedAsk = Extract<Ask, { origin: PeerId }>

/** Longest message in bytes: the longest payload, and what is around it. */
export const MAX_ROUTED_BYTES = MAX_MESSAGE_BYTES + 4_096

/** @throws {Error} where it is none */
export function parseMessage(value: unknown): Message {
  return message.parse(value)
}
