import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { HEAD_BYTES, MAX_KEYS } from '../../../../daemon/swarm/announce/constants.ts'
import {
  type Announcement,
  decodeAnnouncement,
  decodeAnswer,
  encodeAnnouncement,
  encodeAnswer,
} from '../../../../daemon/swarm/announce/message.ts'
import { KEY_BYTES } from '../../../../daemon/swarm/find/constants.ts'
import { Messages } from '../../../../daemon/swarm/find/message.ts'

const id = fc.integer({ min: 0, max: 2 ** 32 - 1 })
const key = fc.uint8Array({ minLength: KEY_BYTES, maxLength: KEY_BYTES })
const announcement: fc.Arbitrary<Announcement> = fc.record({
  id,
  kind: fc.constantFrom('place', 'withdraw'),
  keys: fc.array(key, { minLength: 1, maxLength: 20 }),
})
const answer = fc.record({ id, taken: fc.nat(MAX_KEYS) })

/** The head of an announcement. */
function head(kind: number, count: number): Buffer {
  const bytes = Buffer.alloc(HEAD_BYTES)
  bytes.writeUInt8(kind, 4)
  bytes.writeUInt16BE(count, 5)
  return bytes
}

/** Cuts bytes into pieces of a size. */
function pieces(bytes: Uint8Array, size: number): Uint8Array[] {
  return Array.from({ length: Math.ceil(bytes.length / size) }, (_, index) =>
    bytes.subarray(index * size, (index + 1) * size),
  )
}

describe('messages', () => {
  test('are the same after any cut of the stream', () => {
    fc.assert(
      fc.property(
        fc.array(announcement, { maxLength: 5 }),
        fc.array(answer, { maxLength: 5 }),
        fc.integer({ min: 1, max: 100 }),
        (announcements, answers, size) => {
          const heard = new Messages(decodeAnnouncement)
          const received = pieces(Buffer.concat(announcements.map(encodeAnnouncement)), size).flatMap((part) => [
            ...heard.push(part),
          ])
          expect(received.map((one) => ({ ...one, keys: one.keys.map((key) => Uint8Array.from(key)) }))).toEqual(
            announcements,
          )
          const told = new Messages(decodeAnswer)
          expect(
            pieces(Buffer.concat(answers.map(encodeAnswer)), size).flatMap((part) => [...told.push(part)]),
          ).toEqual(answers)
        },
      ),
    )
  })

  test('hold as many keys as are allowed', () => {
    const keys = Array.from({ length: MAX_KEYS }, (_, index) => Buffer.alloc(KEY_BYTES, index))
    const decoded = decodeAnnouncement(Buffer.from(encodeAnnouncement({ id: 1, kind: 'place', keys })))
    expect(decoded?.message.keys).toEqual(keys)
  })

  test('with no keys, with too many, or of no known kind are refused as soon as their head is there', () => {
    expect(() => decodeAnnouncement(head(1, 0))).toThrow(/0 keys/)
    expect(() => decodeAnnouncement(head(1, MAX_KEYS + 1))).toThrow(/513 keys/)
    expect(() => decodeAnnouncement(head(1, 65_535))).toThrow(/65535 keys/)
    expect(() => decodeAnnouncement(head(0, 1))).toThrow(/0 is no kind/)
    expect(() => decodeAnnouncement(head(3, 1))).toThrow(/3 is no kind/)
  })

  test('never make the decoder wait for more than one can have', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (start) => {
        const bytes = Buffer.concat([start, Buffer.alloc(HEAD_BYTES + MAX_KEYS * KEY_BYTES)])
        try {
          expect(decodeAnnouncement(bytes)).toBeDefined()
        } catch (error) {
          expect((error as Error).message).toMatch(/keys; 1 to|no kind/)
        }
      }),
    )
  })
})
