import { KEY_BYTES } from '../find/constants.ts'
import type { Decoded } from '../find/message.ts'
import { ANSWER_BYTES, HEAD_BYTES, MAX_KEYS } from './constants.ts'

/** `place`: the sender has these blobs. `withdraw`: it no longer has them. */
export type Kind = 'place' | 'withdraw'

const CODES: Readonly<Record<Kind, number>> = { place: 1, withdraw: 2 }

export interface Announcement {
  readonly id: number
  readonly kind: Kind
  readonly keys: readonly Uint8Array[]
}

export interface AnnounceAnswer {
  readonly id: number
  /** How many of the keys are recorded now, or are no longer; fewer than were sent where the sender has too many. */
  readonly taken: number
}

export function encodeAnnouncement({ id, kind, keys }: Announcement): Uint8Array {
  const bytes = Buffer.allocUnsafe(HEAD_BYTES + keys.length * KEY_BYTES)
  bytes.writeUInt32BE(id)
  bytes.writeUInt8(CODES[kind], 4)
  bytes.writeUInt16BE(keys.length, 5)
  for (const [index, key] of keys.entries()) bytes.set(key, HEAD_BYTES + index * KEY_BYTES)
  return bytes
}

/** Undefined where more bytes are needed. @throws {Error} where it is malformed or too long */
export function decodeAnnouncement(bytes: Buffer): Decoded<Announcement> | undefined {
  if (bytes.length < HEAD_BYTES) return undefined
  const kind = kindOf(bytes.readUInt8(4))
  const count = bytes.readUInt16BE(5)
  if (count === 0 || count > MAX_KEYS) throw new Error(`it has ${count} keys; 1 to ${MAX_KEYS} are allowed`)
  const length = HEAD_BYTES + count * KEY_BYTES
  if (bytes.length < length) return undefined
  const keys = Array.from({ length: count }, (_, index) => {
    const at = HEAD_BYTES + index * KEY_BYTES
    return bytes.subarray(at, at + KEY_BYTES)
  })
  return { message: { id: bytes.readUInt32BE(), kind, keys }, length }
}

function kindOf(code: number): Kind {
  if (code === CODES.place) return 'place'
  if (code === CODES.withdraw) return 'withdraw'
  throw new Error(`${code} is no kind of announcement`)
}

export function encodeAnswer({ id, taken }: AnnounceAnswer): Uint8Array {
  const bytes = Buffer.allocUnsafe(ANSWER_BYTES)
  bytes.writeUInt32BE(id)
  bytes.writeUInt16BE(taken, 4)
  return bytes
}

/** Undefined where more bytes are needed. */
export function decodeAnswer(bytes: Buffer): Decoded<AnnounceAnswer> | undefined {
  if (bytes.length < ANSWER_BYTES) return undefined
  return { message: { id: bytes.readUInt32BE(), taken: bytes.readUInt16BE(4) }, length: ANSWER_BYTES }
}
